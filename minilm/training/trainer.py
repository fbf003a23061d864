"""The training of a language model, which keeps a run's folder.

One step::

    ids, targets = batches.batch(step)                       (B, T) each: a function of the seed and the step
    loss, saved  = model.forward(ids, targets, state, key=Key(seed, step))
    model.backward(saved)                                    fills the gradient buffer
    norm         = optimizer.step(lr)                        clips, updates, clears
    state        = saved.state                               carried into the next step, by recurrent models, but for the rows
                                                             that begin anew (`minilm.data.batching`)

The loop around it is `minilm.training.loop`; what is done between the steps, `minilm.training.callbacks`; the step itself, also
of a batch that goes through the model in parts (``accumulate``), `minilm.training.step`.

All that a step depends on is in the checkpoint, so a run that was stopped goes on as if it had not been, bit for bit.

The clock that a budget in minutes looks at starts when the kernels are compiled (`Trainer.warm_up` runs each once) and stops
before the last evaluation; validation and checkpoints in between count.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minilm import data, distributed, layers
from minilm.ops.cuda.graphs import own_stream
from minilm.optimizers import WeightAverage
from minilm.random import Key
from minilm.tokenizers import Tokenizer
from minilm.training import kept, provenance, snapshot
from minilm.training.build import Parts, make_batches, make_optimizer, make_schedule
from minilm.training.callbacks import Bar, Checkpoints, Kept, Rows, Signals, Stopped, Validation
from minilm.training.checkpoint import Checkpoint
from minilm.training.device import GraphedStep, active
from minilm.training.divergence import MANY, NonFiniteError, check_weights, non_finite
from minilm.training.evaluation import Evaluation, evaluate, evaluate_text
from minilm.training.events import Callback
from minilm.training.log import Log, NoLog, Progress
from minilm.training.loop import Loop, quiet
from minilm.training.parallel import ParallelStep
from minilm.training.protocol import LanguageModel
from minilm.training.run_folder import Folder
from minilm.training.state import TrainingState
from minilm.training.step import NoLoss, NotFinite, Step, counts, restarted, rows_of
from minilm.training.trace import Trace
from minilm.typing import Array, Scalar, State

__all__ = ["Trainer"]


class Trainer(Loop):
    """Trains a model and keeps the run's folder.

    Parameters
    ----------
    folder : Folder
    state : TrainingState
        Its configuration is the run's.
    model, tokenizer, parts
        See `minilm.training.build`.
    checkpoint : Checkpoint, optional
        What to go on from; `state` and `model` are as it has them. Without one, the first checkpoint is written here.
    callbacks : iterable of Callback
    """

    state: TrainingState
    shares, concludes = True, True

    def __init__(
        self,
        folder: Folder,
        state: TrainingState,
        model: LanguageModel,
        tokenizer: Tokenizer,
        parts: Parts,
        checkpoint: Checkpoint | None = None,
        callbacks: Iterable[Callback] = (),
    ):
        config = state.config
        batches = make_batches(config, parts, tokenizer)
        steps = config.steps if config.epochs is None else max(1, math.ceil(config.epochs * batches.epoch_steps))
        model = model.to(config.device)
        super().__init__(
            model,
            make_optimizer(config, model.parameters),
            batches,
            steps=steps,
            minutes=config.minutes,
            schedule=make_schedule(config),
            average=None if config.average is None else WeightAverage(model.parameters, config.average),
            seed=config.seed,
            callbacks=callbacks,
            state=state,
        )
        self.folder, self.config, self.tokenizer, self.parts = folder, config, tokenizer, parts
        self._shown = Progress(False, "tokens")
        self._graphed = config.cuda_graphs and config.device != "cpu"
        self._compute = self._make_step()
        self._rows = self._compute.rows  # of a batch: those that go through the model here
        self._zeros = rows_of(model.initial_state(config.batch), self._rows) if model.carries_state else None
        self.carried = self._zeros  # the state that the next step starts from
        self.saved = state.step  # step of the last checkpoint
        self._skipped = 0  # steps in a row
        self._rates: dict[int, float] = {}  # of steps whose losses nobody has looked at yet
        if checkpoint is None:
            self.save(first=True)
            if self.leads:
                kept.forget(folder.path)
        else:
            self._restore(checkpoint)
        self.log: Any = Log(folder.path, state.log_bytes) if self.leads else NoLog()
        self.trace: Any = Trace(folder.path, state.trace_bytes) if self.leads else NoLog()

    @property
    def leads(self) -> bool:
        """Whether this rank is the one that validates, logs and writes checkpoints."""
        return self.agreement.communicator.rank == 0

    def _make_step(self) -> Step:
        config = self.config
        if self.agreement.communicator.size == 1 and config.shards == 1:
            return (GraphedStep if self._graphed else Step)(self.model, self.optimizer, self.average)
        return ParallelStep(
            self.model,
            self.optimizer,
            self.average,
            self.agreement,
            batch=config.batch,
            shards=config.shards,
            shard_optimizer=config.shard_optimizer,
            wire=config.wire,
        )

    # --- training -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> float:
        """Run every kernel once, so that all are compiled and all buffers there; nothing of it stays. Returns the seconds."""
        start = time.perf_counter()
        batch, keys = self.batches.batch(0), self._keys(0)
        targets = counts(self.model, batch, len(keys))
        cleaned, products = self.model.parameters.clean_after_error(), active(self.config.device, self.config.precision)
        with cleaned, products, self._compute.workspace.step():
            self._compute.gradients(self._on_device(batch), self._zeros, keys, targets)
            self._compute.norm()
        self.model.parameters.zero_gradients()
        small = layers.Linear(2, 2, dtype=self.model.dtype, seed=0).to(self.config.device)
        make_optimizer(self.config, small.parameters).step(0.0)
        if self.leads:
            evaluate(self.model, self.parts.validation_tokens[:1100], tokenizer=self.tokenizer)
        return time.perf_counter() - start

    def run(self, shown: Progress | None = None) -> None:
        """Train until the budget is used up, or a callback asks for a stop, and write the checkpoint of the end.

        Raises
        ------
        NonFiniteError
        Stopped
            After SIGINT, SIGTERM or SIGHUP, when a checkpoint has been written.
        OSError
            If the disk is full or the folder cannot be written; the last checkpoint is kept.
        """
        config, signals = self.config, Signals()
        self._shown = shown or self._shown
        every = config.evaluate_every or ("epoch" if config.schedule.name == "plateau" else None)
        with self._gpu():
            super().run(
                Validation(self.batches.epoch_steps if every == "epoch" else every, config.evaluate_seconds),
                Rows(config.log_every),
                Bar(self._shown),
                Checkpoints(config.checkpoint_every, config.checkpoint_seconds),
                Kept(config.keep_every),
                signals,
            )
        if signals.stopped:
            raise Stopped(self.folder.path, self.state.step, signals.signal)

    def source(self) -> Iterator[tuple]:
        return map(self.batches.batch, itertools.count(self.state.step))

    def rate(self) -> float:
        epoch = self.state.step / self.batches.epoch_steps
        if self.budget.steps is None:
            return self.schedule(self.progress(), epoch=epoch)
        return self.schedule((self.state.step + 0.5) / self.budget.steps, epoch=epoch)  # the middle of the step

    def step(self, batch: tuple) -> tuple:
        state, keys = self.state, self._keys(self.state.step)
        arrays, fresh = self._on_device(batch), self.batches.fresh_rows(state.step)[self._rows]  # (own rows,)
        if fresh.all():
            self.carried = self._zeros
        elif fresh.any():
            self.carried = restarted(self.carried, fresh)
        targets = counts(self.model, batch, len(keys))
        self._rates[state.step] = self.lr
        try:
            loss, norm, self.carried = self._compute(arrays, self.carried, keys, targets, self.lr)
        except (NoLoss, NotFinite) as error:  # among others, logits that are all NaN or infinite have no loss
            reason = non_finite(self, str(error), self._own(arrays), keys[0], error.__cause__)
            if not self._skips(reason):
                raise reason from None
            return math.nan, math.nan
        self._skipped = 0
        state.tokens += int(np.count_nonzero(batch[1] != data.IGNORE))
        state.epoch = (state.step + 1) / self.batches.epoch_steps
        return loss, norm

    def _skips(self, reason: Exception) -> bool:
        """Whether a step that cannot be taken is left out; it is counted then."""
        if self.config.non_finite != "skip" or not isinstance(reason, NonFiniteError) or self._skipped == MANY:
            return False
        self.model.parameters.zero_gradients()
        self.state.skipped, self._skipped = self.state.skipped + 1, self._skipped + 1
        self._shown.say(f"step {self.state.step + 1:,} is skipped: {reason}")
        return True

    def take(self, step: int, loss: float, norm: float | None) -> None:
        super().take(step, loss, norm)
        self.trace.add(step + 1, self._rates.pop(step), loss, norm)
        if math.isfinite(loss):
            self.state.loss_sum += loss
            self.state.loss_count += 1

    def check(self, step: int, loss: Scalar | float, norm: Scalar | float | None) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)) and not self._skipped:
            self.state.step = step
            what = "the norm of the gradients is not finite" if math.isfinite(loss) else f"the loss is {loss}"
            raise non_finite(self, what, self._own(self._on_device(self.batches.batch(step))), self._keys(step)[0])

    def seen(self) -> int:
        return self.state.tokens

    def note(self) -> str:
        return f", validation {self.state.validation['loss']:.3f}" if self.state.validation else ""

    def _on_device(self, batch: tuple) -> tuple:
        """The arrays of a batch on the model's device."""
        if self.model.objective == "masked" and self.config.device != "cpu":
            batch = (*batch, data.masked_places(batch[1]))  # how many there are, the host must know before it launches anything
        return self._upload(batch)

    def _own(self, arrays: tuple) -> tuple:
        """The rows of a batch that go through the model here."""
        return tuple(array[self._rows] for array in arrays)

    def whole_carried(self) -> State | None:
        """The state that the next step starts from, of all rows of the batch."""
        return self._compute.whole_state(self.carried)

    def restore_carried(self, state: State) -> None:
        """Go on from a state of all rows of the batch."""
        self.carried = rows_of(state, self._rows)

    @contextlib.contextmanager
    def _gpu(self):
        """What holds for steps on a GPU; those that are CUDA graphs want a stream of their own."""
        with (
            active(self.config.device, self.config.precision),
            own_stream() if self._graphed else contextlib.nullcontext(),
        ):
            yield

    def _keys(self, step: int) -> list[Key]:
        """Of dropout, for each part of a step's batch."""
        count = self.config.accumulate * self.config.shards
        return [Key(self.config.seed, step * count + part) for part in range(count)]

    # --- validation ---------------------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Validate during training, on as much of the validation text as the configuration says."""
        self.read()
        with quiet():
            self._validate(self.config.evaluate_tokens)

    def _validate(self, limit: int | None) -> Evaluation:
        """Validate on the first `limit` tokens, or all, with the averaged weights where there are some."""
        state = self.state
        result = Evaluation(*distributed.first_alone(lambda: self._evaluate(limit)))
        state.validation = {"step": state.step, **result.to_dict()}
        if state.best is None or result.loss < state.best["loss"]:
            state.best = {"step": state.step, "loss": result.loss}
        fell = self.schedule.observe(result.loss)
        self._shown.say(
            f"step {state.step:,}: validation loss {result.loss:.4f}, "
            + (f"perplexity {result.perplexity:.2f}" if result.accuracy is None else f"{result.accuracy:.1%} guessed")
            + (", learning rate divided" if fell else "")
        )
        self.notify("on_validation_end", result)
        return result

    def _evaluate(self, limit: int | None) -> Evaluation:
        parts = self.parts
        with self.averaged():
            if limit is None or limit >= parts.validation_tokens.size:
                return evaluate_text(self.model, self.tokenizer, parts.validation, parts.validation_tokens)
            return evaluate(self.model, parts.validation_tokens[:limit], tokenizer=self.tokenizer)

    def conclude(self) -> Evaluation:
        """Validate on the whole of the validation text when training has ended; the log and the checkpoint keep it."""
        state, whole = self.state, self.parts.validation_tokens.size - 1
        done = state.validation
        if done is not None and done["step"] == state.step:
            if "accuracy" in done:
                return Evaluation(done["loss"], done["tokens"], None, done["accuracy"], done["next_sentence_accuracy"])
            if done["tokens"] == whole and done["characters"]:
                return Evaluation(done["loss"], done["tokens"], done["characters"])
        result = self._validate(None)
        self.row(None, None, None, result.loss)
        self.save(weights=False)
        return result

    # --- the folder ---------------------------------------------------------------------------------------------------

    def row(self, lr: float | Array, norm: Scalar | float | None, rate: float | None, validation_loss: float | None) -> None:
        """A row of the log."""
        state = self.state
        self.log.row(
            step=state.step,
            epoch=state.epoch,
            tokens=state.tokens,
            lr=lr,
            loss=state.loss_sum / state.loss_count if state.loss_count else None,
            gradient_norm=norm,
            validation_loss=validation_loss,
            seconds=state.seconds,
            tokens_per_second=rate,
        )
        state.loss_sum, state.loss_count = 0.0, 0

    def save(self, *, first: bool = False, weights: bool = True) -> None:
        """Write a checkpoint; without `weights`, which have not changed then, only what training.json says."""
        if weights:
            self.read()
            check_weights(self)
        self.state.schedule = self.schedule.state_dict()
        self.state.machine = provenance.machine()
        missing = not first and distributed.first_alone(self._renew)
        if not first:
            self.state.log_bytes, self.state.log_sha256 = self.log.flush()
            self.state.trace_bytes, self.state.trace_sha256 = self.trace.flush()
        # These may gather what the ranks have in pieces.
        writers = snapshot.writers(self, first or missing) if weights or missing else {}
        if self.leads:
            self.folder.save(self.state, writers)
        self.saved = self.state.step
        if weights and not first:
            self.notify("on_checkpoint")

    def _renew(self) -> bool:
        """Make the folder again if somebody removed it; whether all files of the checkpoint must be written."""
        missing = self.folder.renew()
        if missing:
            self._shown.say(
                f"files of {self.folder.path} were removed: they are written again, but for checkpoints that were kept"
            )
        return missing

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Everything as it was when the checkpoint was written."""
        snapshot.restore(self, checkpoint)
        self.schedule.load_state_dict(self.state.schedule)
        if self.state.finished and not self.finished():  # the budget was raised
            self.state.finished = False

    def close(self) -> None:
        """Close log and trace, and let other processes train here."""
        with contextlib.ExitStack() as closing:
            for each in (self.folder, self.trace, self.log):  # the last first
                closing.callback(each.close)
