"""The training loop of the recipes.

One step::

    examples    = the next batch                               a function of seed and step: of near lengths, each example
                                                               once in a pass over the data
    loss, saved = model.forward(*recipe.batch(examples), key=Key(seed, step))
    model.backward(saved)                                      fills the gradient buffer
    norm        = adam.step(schedule(progress))                clips, updates, clears

On a GPU the batches are copied there ahead, and losses are read back only where a row of the log, the bar or an evaluation wants
them, and every fifty steps: see `minilm.training.device`.

`minilm.training` has the loop for language models, which read one long text and carry a state from batch to batch.

All that a step depends on is in the checkpoints, see `minilm.recipes.kept`: a run that was stopped goes on bit for bit.

The clock that a budget in minutes looks at stands still while the model is evaluated or a checkpoint is written.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.ops.workspace import Workspace
from minilm.optimizers import AdamW, WeightAverage
from minilm.optimizers.schedules import WarmupCosine
from minilm.random import Key
from minilm.recipes.kept import Kept
from minilm.recipes.state import Row
from minilm.training.callbacks import Stop
from minilm.training.device import Unread, uploader

__all__ = ["Fitted", "Row", "batches", "fit"]

POOL = 64  # batches' worth of examples that are sorted by length together
ROWS = 200  # of the log, about


class Fitted(NamedTuple):
    """What training gave, beside the model."""

    steps: int
    seconds: float
    rows: list[Row]
    stopped: int | None  # a signal's number


def batches(examples: Sequence, size: int, length, seed: int, epoch: int) -> Iterator[list]:
    """One pass over the examples in batches of near length, in an order that depends on seed and epoch alone."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(examples))
    lengths = np.array([length(example) for example in examples])
    cut = []
    for start in range(0, len(order), POOL * size):
        pool = order[start : start + POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        cut += [pool[i : i + size] for i in range(0, len(pool), size)]
    for number in rng.permutation(len(cut)):
        yield [examples[i] for i in cut[number]]


def stream(examples: Sequence, size: int, length, seed: int, step: int) -> Iterator[list]:
    """The batches of pass after pass from a step on."""
    epoch, place = divmod(step, math.ceil(len(examples) / size))
    for later in itertools.count(epoch):
        yield from itertools.islice(batches(examples, size, length, seed, later), place, None)
        place = 0


class Stopwatch:
    """The seconds of training, which stand still while something else is done; those of an earlier process count."""

    def __init__(self, seconds: float = 0.0):
        self._begin, self.elsewhere = time.perf_counter() - seconds, 0.0

    @property
    def seconds(self) -> float:
        """Of training."""
        return time.perf_counter() - self._begin - self.elsewhere

    @contextlib.contextmanager
    def stopped(self):
        """What is done inside does not count."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.elsewhere += time.perf_counter() - begin


class Glances:
    """When to evaluate during training: every so many steps, or else ten times in a run.

    In a run of some minutes the evaluations between take no more than a tenth of them, but for the first one.
    """

    def __init__(self, options, last: float = 0.0):
        self._every, self._in_minutes = options["evaluate_every"], options["minutes"] is not None
        self.last = last  # the part of the run that was done at the last evaluation

    def due(self, step: int, done: float, watch: Stopwatch) -> bool:
        """Whether to evaluate after so many steps, which were a part `done` of the run."""
        if self._every is not None:
            return step % self._every == 0
        if done - self.last < 0.1 or (self._in_minutes and watch.elsewhere > 0.1 * watch.seconds):
            return False
        self.last = done
        return True


def fit(recipe, train: Sequence, validation: Sequence, *, seed: int, progress, kept: Kept | None = None) -> Fitted:
    """Train ``recipe.model``.

    Parameters
    ----------
    recipe : Recipe
        Its options say how; see `minilm.recipes.base.COMMON`. The model lies where it is to be trained, inside of
        `minilm.training.device.active`.
    train, validation : sequences of examples
    seed : int
    progress : Progress
    kept : Kept, optional
        The run's checkpoints, and how far it has come.

    Raises
    ------
    ArithmeticError
        The loss, or the norm of the gradients, is not finite. On a GPU that shows when they are read.
    """
    options, model, workspace = recipe.options, recipe.model, Workspace()
    size, kept = options["batch"], kept or Kept(recipe)
    schedule = WarmupCosine(options["lr"], warmup=options["warmup"], final=options["final"] * options["lr"])
    decay = {"weight_decay": options["weight_decay"], "decay": "matrices"}
    learned = getattr(model, "learned", model).parameters  # less than all of them where a part is frozen
    betas = (0.9, options["beta2"])
    adam = AdamW(learned, lr=options["lr"], betas=betas, clip_norm=options["clip_norm"] or None, **decay)
    average = None if options["average"] is None else WeightAverage(learned, options["average"])
    some = validation[: options["evaluate_examples"]]
    state, upload, unread = kept.state, uploader(model.device), Unread(model.device)

    def read() -> float:
        """Look at what is unread; the last loss."""
        for number, loss, norm in unread.read():
            _check(number, loss, norm, options["lr"])
            state.losses.append(loss)
        return state.losses[-1] if state.losses else math.nan

    kept.restore(adam, average)
    with model.parameters.clean_after_error():
        forward_backward(model, upload(recipe.batch(train[:size])), Key(seed), workspace)  # compiles, before the clock starts
    model.parameters.zero_gradients()
    begun, earlier = state.step, state.seconds
    source = stream(train, size, recipe.length, seed, begun)
    watch, glances = Stopwatch(earlier), Glances(options, state.glanced)
    with Stop() as stop, np.errstate(over="ignore", invalid="ignore"), model.parameters.clean_after_error():
        while stop.signal is None:
            state.seconds = watch.seconds
            done = state.done(options)
            if done >= 1:
                break
            examples = next(source)
            lr = schedule(done)
            loss = forward_backward(model, upload(recipe.batch(examples)), Key(seed, state.step), workspace)
            if not devices.on_gpu(loss):
                _check(state.step, loss, None, options["lr"])  # before it is learned from
            unread.add(state.step, loss, adam.step(lr))
            if average is not None:
                average.update()
            state.step += 1
            now = state.seconds = watch.seconds
            due = glances.due(state.step, done, watch)
            row, shown = due or len(state.rows) < done * ROWS, progress.due(now - earlier)
            if row or shown or unread.due:
                loss = read()
            if due:
                with watch.stopped():
                    value = _evaluated(recipe, average, some)
                mean = np.mean(state.losses)
                progress.say(f"step {state.step:,}: loss {mean:.4f}, {recipe.metric.replace('_', ' ')} {value:.4f}")
                state.glanced = glances.last
            if row:
                state.rows.append(Row(state.step, now, lr, float(np.mean(state.losses)), float(value) if due else None))
                state.losses = []
            if shown:
                progress.update(now - earlier, done, state.step, loss, (state.step - begun) * size)
            if kept.due:
                with watch.stopped():
                    read()
                    kept.save(adam, average)
    read()
    state.seconds = watch.seconds
    kept.save(adam, average)
    if average is not None and average.updates:
        means = average.state_dict()
        del means["updates"]
        learned.load_state_dict({name.removeprefix("average."): array for name, array in means.items()})
    return Fitted(state.step, state.seconds, state.rows, stop.signal)


def forward_backward(model, batch, key, workspace):
    """The loss of a batch, on a GPU where the model is; its gradients are added to their buffer."""
    with workspace.step():
        loss, saved = model.forward(*batch, key=key)
        model.backward(saved)
    return loss


def _check(step: int, loss, norm, lr: float) -> None:
    """ArithmeticError unless loss and norm are finite."""
    for name, value in (("loss", loss), ("norm of the gradients", norm)):
        if value is not None and not math.isfinite(value):
            raise ArithmeticError(f"the {name} is {float(value)} at step {step:,}: a smaller lr than {lr:g} may help")


def _evaluated(recipe, average, examples) -> float:
    """The main metric, of the averaged weights where there are some."""
    if average is None:
        return recipe.glance(examples)
    with average.applied():
        return recipe.glance(examples)
