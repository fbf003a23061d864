"""The training steps of a language model, and its validation between them.

One step::

    ids, targets = batches.batch(step)                       (B, T) each: a function of the seed and the step
    loss, saved  = model.forward(ids, targets, state, key=Key(seed, step))
    model.backward(saved)                                    fills the gradient buffer
    norm         = optimizer.step(lr)                        clips, updates, clears
    state        = saved.state                               carried into the next step by recurrent models; rows that begin
                                                             anew (`minilm.data.batching`) have zeros in its place

The loop around it is `minilm.training.loop`; the step itself, also of a batch that goes through the model in parts
(``accumulate``), is `minilm.training.step`; the run's folder, `minilm.training.trainer`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterable, Iterator

import numpy as np

from minilm import data, distributed, layers
from minilm.ops.cuda.graphs import own_stream
from minilm.optimizers import WeightAverage
from minilm.random import Key
from minilm.tokenizers import Tokenizer
from minilm.training.build import Parts, make_batches, make_optimizer, make_schedule
from minilm.training.device import active
from minilm.training.divergence import MANY, NonFiniteError, non_finite, quiet
from minilm.training.evaluation import Evaluation, evaluate, evaluate_text
from minilm.training.events import Callback
from minilm.training.graphed_step import GraphedStep
from minilm.training.log import Progress
from minilm.training.loop import Loop
from minilm.training.parallel import ParallelStep
from minilm.training.protocol import LanguageModel
from minilm.training.state import TrainingState
from minilm.training.step import NoLoss, NotFinite, Step, counts, restarted, rows_of
from minilm.typing import Scalar, State

__all__ = ["LanguageModelLoop"]


class LanguageModelLoop(Loop):
    """Trains a language model as a configuration says.

    Parameters
    ----------
    state : TrainingState
        Its configuration is the run's.
    model, tokenizer, parts
        See `minilm.training.build`.
    callbacks : iterable of Callback

    Attributes
    ----------
    carried : tuple of ndarray, or None
        The state that the next step starts from, of a model that carries one.
    shown : Progress
        Where messages are printed.
    """

    state: TrainingState
    shares, concludes = True, True

    def __init__(
        self,
        state: TrainingState,
        model: LanguageModel,
        tokenizer: Tokenizer,
        parts: Parts,
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
        self.config, self.tokenizer, self.parts = config, tokenizer, parts
        self.shown = Progress(False, "tokens")
        self._graphed = config.cuda_graphs and config.device != "cpu"
        self._step = self._make_step()
        self._rows = self._step.rows  # of a batch: those that go through the model here
        self._zeros = rows_of(model.initial_state(config.batch), self._rows) if model.carries_state else None
        self.carried = self._zeros
        self._skipped = 0  # steps in a row

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
        counted = counts(self.model, batch, len(keys))  # (A, losses)
        cleaned, products = self.model.parameters.clean_after_error(), active(self.config.device, self.config.precision)
        with cleaned, products, self._step.workspace.step():
            self._step.gradients(self._on_device(batch), self._zeros, keys, counted)
            self._step.norm()
        self.model.parameters.zero_gradients()
        small = layers.Linear(2, 2, dtype=self.model.dtype, seed=0).to(self.config.device)
        make_optimizer(self.config, small.parameters).step(0.0)
        if self.leads:
            evaluate(self.model, self.parts.validation_tokens[:1100], tokenizer=self.tokenizer)
        return time.perf_counter() - start

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
        counted = counts(self.model, batch, len(keys))  # (A, losses)
        try:
            loss, norm, self.carried = self._step(arrays, self.carried, keys, counted, self.lr)
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
        self.shown.say(f"step {self.state.step + 1:,} is skipped: {reason}")
        return True

    def take(self, step: int, loss: float, norm: float | None) -> None:
        super().take(step, loss, norm)
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
        return self._step.whole_state(self.carried)

    def restore_carried(self, state: State) -> None:
        """Go on from a state of all rows of the batch."""
        self.carried = rows_of(state, self._rows)

    @contextlib.contextmanager
    def on_gpu(self) -> Iterator[None]:
        """What holds for steps on a GPU; those that are CUDA graphs want a stream of their own."""
        with (
            active(self.config.device, self.config.precision),
            own_stream() if self._graphed else contextlib.nullcontext(),
        ):
            yield

    def _keys(self, step: int) -> list[Key]:
        """Dropout's keys, one for each part of a step's batch."""
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
        self.shown.say(
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
