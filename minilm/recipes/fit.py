"""How recipes train: the loop of `minilm.training.loop`, and what is done between its steps.

One step::

    examples    = the next batch                               a function of seed and step: of near lengths, each example
                                                               once in a pass over the data
    loss, saved = model.forward(*recipe.batch(examples), key=Key(seed, step))
    model.backward(saved)                                      fills the gradient buffer
    norm        = optimizer.step(schedule(progress))           clips, updates, clears

On a GPU the batches are copied there ahead, and losses are read back only where a row of the log, the bar or an evaluation wants
them, and every fifty steps: see `minilm.training.device`.

All that a step depends on is in the checkpoints, see `minilm.recipes.kept`: a run that was stopped goes on bit for bit.

The clock that a budget in minutes looks at stands still while the model is evaluated or a checkpoint is written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices, distributed
from minilm.layers.base import Layer
from minilm.layers.parameters import Parameters
from minilm.optimizers import SGD, AdamW, Optimizer, WeightAverage
from minilm.optimizers.schedules import WarmupCosine
from minilm.random import Key
from minilm.recipes.kept import Kept
from minilm.recipes.state import RecipeState, Row
from minilm.training.callbacks import Bar, Signals
from minilm.training.divergence import quiet
from minilm.training.events import Callback
from minilm.training.log import Progress
from minilm.training.loop import Loop
from minilm.training.parallel import SharedGradients, check_ranks

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["Fitted", "Row", "batches", "fit"]

POOL = 64  # batches' worth of examples that are sorted by length together
ROWS = 200  # of the log, about


class Fitted(NamedTuple):
    """What training gave, beside the model."""

    steps: int
    seconds: float
    rows: list[Row]
    stopped: int | None  # a signal's number


def batches(examples: Sequence, size: int, length: Callable, seed: int, epoch: int) -> Iterator[list]:
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


def learned_of(model: Layer) -> Parameters:
    """What is trained: frozen ones at the model's beginning, such as words' vectors, cost no work and no state."""
    named = list(getattr(model, "learned", model).named_parameters())
    first = next((place for place, (_, parameter) in enumerate(named) if parameter.trainable), 0)
    return Parameters(named[first:])


class RecipeLoop(Loop):
    """The loop of a recipe that learns by batches.

    Attributes
    ----------
    recipe, kept
    done : float
        The part of the budget that was used up before the step.
    """

    state: RecipeState
    shares = True

    def __init__(self, recipe, train: Sequence, kept: Kept, seed: int, callbacks: Iterable[Callback] = ()):
        options, model = recipe.options, recipe.model
        learned = learned_of(model)
        optimizer = _optimizer(learned, options)
        super().__init__(
            model,
            optimizer,
            train,
            steps=options["steps"] if options["minutes"] is None else None,
            minutes=options["minutes"],
            schedule=WarmupCosine(options["lr"], warmup=options["warmup"], final=options["final"] * options["lr"]),
            average=None if options["average"] is None else WeightAverage(learned, options["average"]),
            seed=seed,
            callbacks=callbacks,
            state=kept.state,
        )
        self.recipe, self.kept, self.done = recipe, kept, 0.0
        shards = options["micro_shards"] or 1
        check_ranks(self.agreement.communicator.size, shards, options["batch"])
        self._shared = None if shards == 1 else SharedGradients(learned, self.agreement, shards)
        kept.restore(optimizer, self.average)

    def warm_up(self) -> None:
        """Run every kernel once, so that all are compiled before the clock starts; nothing of it stays."""
        batch = self._batch(self.batches[: self.recipe.options["batch"]])
        with self.model.parameters.clean_after_error(), self.workspace.step():
            self.gradients(batch)
        self.model.parameters.zero_gradients()

    def source(self) -> Iterator[tuple]:
        size = self.recipe.options["batch"]
        return map(self._batch, stream(self.batches, size, self.recipe.length, self.seed, self.state.step))

    def gradients(self, batch: tuple) -> Any:
        return super().gradients(batch) if self._shared is None else self._shared_gradients(batch)

    def _batch(self, examples: Sequence) -> tuple:
        """What forward takes; with micro-shards, that of each of them, or () where one of a short batch has no examples."""
        if self._shared is None:
            return self.recipe.batch(examples)
        count = self._shared.tree.leaves
        cuts = [shard * len(examples) // count for shard in range(count + 1)]
        return tuple(self.recipe.batch(examples[a:b]) if a < b else () for a, b in itertools.pairwise(cuts))

    def _shared_gradients(self, shards: tuple) -> float:
        weights = [self.recipe.weight(shard) if shard else 0 for shard in shards]
        key = Key(self.seed, self.state.step)

        def compute(shard: int) -> float:
            if not weights[shard]:
                return 0.0
            share = weights[shard] / sum(weights)
            loss, saved = self.model.forward(*self._upload(shards[shard]), key=key.at(f"micro_shards.{shard}"))
            self.model.backward(saved, dloss=share)
            return share * float(loss)

        return self._shared.sum(compute, lambda shard: devices.mapped(shards[shard], np.shape))

    def rate(self) -> float:
        self.done = self.budget.done(self.state.step, self.state.seconds)
        return self.schedule(self.done)

    def progress(self) -> float:
        return self.done

    def seen(self) -> int:
        return self.state.step * self.recipe.options["batch"]

    def take(self, step: int, loss: float, norm: float | None) -> None:
        super().take(step, loss, norm)
        self.state.losses.append(loss)

    def evaluate(self, examples: Sequence) -> float:
        """The main metric, of the averaged weights where there are some; the clock stands still meanwhile."""
        with self.clock.stopped(), self.averaged(), quiet():
            return distributed.first_alone(lambda: self.recipe.glance(examples))

    def save(self) -> None:
        """Write a checkpoint; the clock stands still meanwhile."""
        self.read()
        with self.clock.stopped():
            written = self.kept.save(self.optimizer, self.average)
        if written:
            self.notify("on_checkpoint")


def _optimizer(learned: Parameters, options: dict[str, Any]) -> Optimizer:
    shared = {"lr": options["lr"], "clip_norm": options["clip_norm"] or None}
    shared |= {"weight_decay": options["weight_decay"], "decay": "matrices"}
    if options["optimizer"] == "sgd":
        return SGD(learned, **shared)
    return AdamW(learned, betas=(0.9, options["beta2"]), **shared)


class Glances(Callback):
    """Evaluates during training: every so many steps, or else ten times in a run.

    In a run of some minutes the evaluations between take no more than a tenth of them, but for the first one.
    """

    def __init__(self, options, examples: Sequence, progress: Progress):
        self._every, self._in_minutes = options["evaluate_every"], options["minutes"] is not None
        self._examples, self._progress = examples, progress

    def on_step_end(self, loop):
        if not self._due(loop):
            return
        loop.read()
        value, state = loop.evaluate(self._examples), loop.state
        metric = loop.recipe.metric.replace("_", " ")
        self._progress.say(f"step {state.step:,}: loss {np.mean(state.losses):.4f}, {metric} {value:.4f}")
        loop.notify("on_validation_end", value)

    def _due(self, loop) -> bool:
        state, clock = loop.state, loop.clock
        if self._every is not None:
            return state.step % self._every == 0
        if loop.done - state.glanced < 0.1 or (self._in_minutes and clock.elsewhere > 0.1 * clock.seconds):
            return False
        state.glanced = loop.done
        return True


class Rows(Callback):
    """Keeps the rows of log.csv: some `ROWS` in a run, and one for each evaluation."""

    def on_step_begin(self, loop):
        self._metric = None

    def on_validation_end(self, loop, evaluation):
        self._metric = float(evaluation)

    def on_step_end(self, loop):
        state = loop.state
        if self._metric is not None or len(state.rows) < loop.done * ROWS:
            loop.read()
            state.rows.append(Row(state.step, loop.stepped, loop.lr, float(np.mean(state.losses)), self._metric))
            state.losses = []


class Checkpoints(Callback):
    """Writes checkpoints now and then, and when training ends."""

    def on_step_end(self, loop):
        if loop.kept.due:
            loop.save()

    def on_train_end(self, loop):
        loop.tick()
        loop.save()


def fit(
    recipe: Recipe,
    train: Sequence,
    validation: Sequence,
    *,
    seed: int,
    progress: Progress,
    kept: Kept | None = None,
    callbacks: Iterable[Callback] = (),
) -> Fitted:
    """Train ``recipe.model``.

    Parameters
    ----------
    recipe : Recipe
        Its options say how; see `minilm.recipes.settings.COMMON`. The model lies where it is to be trained, inside of
        `minilm.training.device.active`.
    train, validation : sequences of examples
    seed : int
    progress : Progress
    kept : Kept, optional
        The run's checkpoints, and how far it has come.
    callbacks : iterable of Callback

    Raises
    ------
    ArithmeticError
        The loss, or the norm of the gradients, is not finite. On a GPU that shows when they are read.
    """
    training, signals = RecipeLoop(recipe, train, kept or Kept(recipe), seed, callbacks), Signals()
    training.warm_up()
    glances = Glances(recipe.options, validation[: recipe.options["evaluate_examples"]], progress)
    training.run(glances, Rows(), Bar(progress), signals, Checkpoints())
    training.use_average()
    state = training.state
    return Fitted(state.step, state.seconds, state.rows, signals.signal)
