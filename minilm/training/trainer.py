"""The training loop.

One step::

    ids, targets = batches.batch(step)                       (B, T) each: a function of the seed and the step
    loss, saved  = model.forward(ids, targets, state, key=Key(seed, step))
    model.backward(saved)                                    fills the gradient buffer
    norm         = optimizer.step(lr)                        clips, updates, clears
    state        = saved.state                               carried into the next step, by recurrent models, but for the rows
                                                             that begin anew (`minilm.data.batching`)

See `minilm.training.step`, and `minilm.training.passes` for a batch that goes through the model in parts (``accumulate``).

All that a step depends on is in the checkpoint, so a run that was stopped goes on as if it had not been, bit for bit.

The clock that a budget in minutes looks at starts when the kernels are compiled (`Trainer.warm_up` runs each once) and stops
before the last evaluation; validation and checkpoints in between count.
"""

from __future__ import annotations

import contextlib
import math
import time

import numpy as np

from minilm import data, layers
from minilm.ops import clip
from minilm.ops.cuda.graphs import own_stream
from minilm.optimizers import WeightAverage
from minilm.random import Key
from minilm.training import device, passes, snapshot
from minilm.training.build import Parts, make_batches, make_optimizer, make_schedule
from minilm.training.checkpoint import Checkpoint, Folder
from minilm.training.divergence import check_weights, non_finite
from minilm.training.evaluation import Evaluation, evaluate, evaluate_text
from minilm.training.graphs import GraphedStep
from minilm.training.interrupt import Stop, Stopped
from minilm.training.log import Log, plot
from minilm.training.progress import Progress
from minilm.training.state import TrainingState
from minilm.training.step import NotFinite, Step

__all__ = ["Trainer"]


class Trainer:
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
    """

    def __init__(self, folder: Folder, state: TrainingState, model, tokenizer, parts: Parts, checkpoint=None):
        self.folder, self.state, self.config = folder, state, state.config
        self.model, self.tokenizer, self.parts = model.to(self.config.device), tokenizer, parts
        self._upload = device.uploader(self.config.device)  # puts a batch where the model is
        self._unread = device.Unread(self.config.device)
        self.batches = make_batches(self.config, parts, tokenizer)
        self.optimizer = make_optimizer(self.config, model.parameters)
        self.schedule = make_schedule(self.config)
        self.average = None if self.config.average is None else WeightAverage(model.parameters, self.config.average)
        self._graphed = self.config.cuda_graphs and self.config.device != "cpu"
        kind = GraphedStep if self._graphed else Step
        self._compute = kind(self.model, self.optimizer, self.average)
        self._parameters = model.parameters
        self._zeros = model.initial_state(self.config.batch) if model.carries_state else None
        self.carried = self._zeros  # the state that the next step starts from
        self._limit = self._total_steps()
        self.saved = state.step  # step of the last checkpoint
        if checkpoint is None:
            self.save(first=True)
        else:
            self._restore(checkpoint)
        self.log = Log(folder.path, state.log_bytes)

    # --- how far ------------------------------------------------------------------------------------------------------

    def _total_steps(self) -> int | None:
        """Steps of the whole run; None where minutes decide."""
        if self.config.epochs is not None:
            return max(1, math.ceil(self.config.epochs * self.batches.epoch_steps))
        return self.config.steps

    def progress(self) -> float:
        """The part of the run that is done, in [0, 1]."""
        if self._limit is None:
            return min(1.0, self.state.seconds / (60 * self.config.minutes))
        return min(1.0, self.state.step / self._limit)

    def _rate(self) -> float:
        """The learning rate of the next step."""
        done = self.progress() if self._limit is None else (self.state.step + 0.5) / self._limit  # the middle of the step
        return self.schedule(done, epoch=self.state.step / self.batches.epoch_steps)

    # --- training -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> float:
        """Run every kernel once, so that all are compiled and all buffers there; nothing of it stays. Returns the seconds."""
        start = time.perf_counter()
        batch, keys = self.batches.batch(0), self._keys(0)
        counts = passes.counts(self.model, batch, len(keys))
        with self._parameters.clean_after_error():
            passes.run(self.model, self._there(batch), self._zeros, keys, counts, self._compute.workspace)
            clip.norm(self._parameters.gradient_flat)
        self._parameters.zero_gradients()
        small = layers.Linear(2, 2, dtype=self.model.dtype, seed=0).to(self.config.device)
        make_optimizer(self.config, small.parameters).step(0.0)
        evaluate(self.model, self.parts.validation_tokens[:1100], tokenizer=self.tokenizer)
        return time.perf_counter() - start

    def run(self, progress: Progress) -> None:
        """Train until the budget is used up, and write the checkpoint of the end.

        Raises
        ------
        NonFiniteError
        Stopped
            After SIGINT, SIGTERM or SIGHUP, when a checkpoint has been written.
        OSError
            If the disk is full or the folder cannot be written; the last checkpoint is kept.
        """
        state, config = self.state, self.config
        first = origin = time.perf_counter()
        origin -= state.seconds
        row_time, row_tokens, begun, last_saved, last_validated = first, state.tokens, state.tokens, first, first
        clean, quiet = self._parameters.clean_after_error(), np.errstate(over="ignore", invalid="ignore")  # looked for here
        with Stop() as stop, self._on_device(), clean, quiet:
            while not self.finished():
                lr = self._rate()
                loss, norm, count = self._step(lr)
                now = time.perf_counter()
                state.step += 1
                state.tokens += count
                state.epoch = state.step / self.batches.epoch_steps
                state.seconds = now - origin
                self._unread.add(state.step, loss, norm)
                ended = self.finished()
                validated = not ended and self._validation_due(now - last_validated)
                row = validated or ended or state.step % config.log_every == 0
                shown, kept = progress.due(now - first), not ended and self._checkpoint_due(now - last_saved)
                if row or shown or kept or stop.signal is not None or self._unread.due:
                    loss, norm = self._read()
                if validated:
                    self._validate(config.evaluate_tokens, progress)
                    last_validated = time.perf_counter()
                    state.seconds = last_validated - origin
                if row:
                    rate = (state.tokens - row_tokens) / max(now - row_time, 1e-9)
                    self._row(lr, norm, rate, state.validation["loss"] if validated else None)
                    row_time, row_tokens = time.perf_counter(), state.tokens
                if shown:
                    progress.update(now - first, self.progress(), state.step, loss, state.tokens - begun, self._note())
                if stop.signal is not None and not ended:
                    self.save()
                    raise Stopped(self.folder.path, state.step, stop.signal)
                if kept:
                    self.save()
                    last_saved = time.perf_counter()
                state.seconds = time.perf_counter() - origin
            if not state.finished:
                state.finished = True
                self.save()

    def finished(self) -> bool:
        """Whether the budget is used up."""
        if self._limit is None:
            return self.state.step > 0 and self.state.seconds >= 60 * self.config.minutes
        return self.state.step >= self._limit

    def _step(self, lr: float) -> tuple:
        """One step: its loss, the norm of its gradients, both on the GPU where the model is, and how many targets it had."""
        step = self.state.step
        on_host = self.batches.batch(step)  # ids and targets (B, T), and what else the model reads
        batch = self._there(on_host)
        fresh = self.batches.fresh_rows(step)  # (B,)
        if fresh.all():
            self.carried = self._zeros
        elif fresh.any():
            self.carried = passes.restarted(self.carried, fresh)
        keys = self._keys(step)
        counts = passes.counts(self.model, on_host, len(keys))
        try:
            loss, norm, self.carried = self._compute(batch, self.carried, keys, counts, lr)
        except (passes.NoLoss, NotFinite) as error:  # among others, logits that are all NaN or infinite have no loss
            raise non_finite(self, str(error), batch, keys[0], error.__cause__) from None
        return loss, norm, int(np.count_nonzero(on_host[1] != data.IGNORE))

    def _there(self, batch: tuple) -> tuple:
        """The arrays of a batch on the model's device."""
        if self.model.objective == "masked" and self.config.device != "cpu":
            batch = (*batch, data.masked_places(batch[1]))  # how many there are, the host must know before it launches anything
        return self._upload(batch)

    @contextlib.contextmanager
    def _on_device(self):
        """What holds for steps on a GPU; those that are CUDA graphs want a stream of their own."""
        with (
            device.active(self.config.device, self.config.precision),
            own_stream() if self._graphed else contextlib.nullcontext(),
        ):
            yield

    def _read(self) -> tuple[float, float]:
        """Loss and norm of the last step, as numbers; those of all steps that are not read yet go into the log's mean.

        On a GPU this waits for it, and only now shows whether they are finite.
        """
        state, unread = self.state, self._unread.read()
        for step, loss, norm in unread:
            if not (math.isfinite(loss) and math.isfinite(norm)):
                state.step = step - 1
                what = "the norm of the gradients is not finite" if math.isfinite(loss) else f"the loss is {loss}"
                raise non_finite(self, what, self._there(self.batches.batch(step - 1)), self._keys(step - 1)[0])
            state.loss_sum += loss
            state.loss_count += 1
        return unread[-1][1:]

    def _keys(self, step: int) -> list[Key]:
        """Of dropout, for each part of a step's batch."""
        count = self.config.accumulate
        return [Key(self.config.seed, step * count + part) for part in range(count)]

    # --- validation ---------------------------------------------------------------------------------------------------

    def _validation_due(self, seconds: float) -> bool:
        every, step = self.config.evaluate_every, self.state.step
        if every is None and self.config.schedule.name == "plateau":
            every = "epoch"
        if every is not None and step % (self.batches.epoch_steps if every == "epoch" else every) == 0:
            return True
        return self.config.evaluate_seconds is not None and seconds >= self.config.evaluate_seconds

    def _validate(self, limit: int | None, progress: Progress) -> Evaluation:
        """Validate on the first `limit` tokens, or all, with the averaged weights where there are some."""
        parts, state = self.parts, self.state
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            if limit is None or limit >= parts.validation_tokens.size:
                result = evaluate_text(self.model, self.tokenizer, parts.validation, parts.validation_tokens)
            else:
                result = evaluate(self.model, parts.validation_tokens[:limit], tokenizer=self.tokenizer)
        state.validation = {"step": state.step, **result.to_dict()}
        if state.best is None or result.loss < state.best["loss"]:
            state.best = {"step": state.step, "loss": result.loss}
        fell = self.schedule.observe(result.loss)
        progress.say(
            f"step {state.step:,}: validation loss {result.loss:.4f}, "
            + (f"perplexity {result.perplexity:.2f}" if result.accuracy is None else f"{result.accuracy:.1%} guessed")
            + (", learning rate divided" if fell else "")
        )
        return result

    def conclude(self, progress: Progress) -> Evaluation:
        """Validate on the whole of the validation text when training has ended; the log and the checkpoint keep it."""
        state, whole = self.state, self.parts.validation_tokens.size - 1
        done = state.validation
        if done is not None and done["step"] == state.step:
            if "accuracy" in done:
                return Evaluation(done["loss"], done["tokens"], None, done["accuracy"], done["next_sentence_accuracy"])
            if done["tokens"] == whole and done["characters"]:
                return Evaluation(done["loss"], done["tokens"], done["characters"])
        result = self._validate(None, progress)
        self._row(None, None, None, result.loss)
        self.save(weights=False)
        return result

    # --- the folder ---------------------------------------------------------------------------------------------------

    def _note(self) -> str:
        """For the progress bar."""
        return f", validation {self.state.validation['loss']:.3f}" if self.state.validation else ""

    def _row(self, lr, norm, rate, validation_loss) -> None:
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

    def _checkpoint_due(self, seconds: float) -> bool:
        every, often = self.config.checkpoint_every, self.config.checkpoint_seconds
        return (every is not None and self.state.step % every == 0) or (often is not None and seconds >= often)

    def save(self, *, first: bool = False, weights: bool = True) -> None:
        """Write a checkpoint; without `weights`, which have not changed then, only what training.json says."""
        if weights:
            check_weights(self)
        self.state.schedule = self.schedule.state_dict()
        if not first:
            self.state.log_bytes = self.log.flush()
        self.folder.save(self.state, snapshot.writers(self, first) if weights else {})
        self.saved = self.state.step

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Everything as it was when the checkpoint was written."""
        snapshot.restore(self, checkpoint)
        self.schedule.load_state_dict(self.state.schedule)
        if self.state.finished and not self.finished():  # the budget was raised
            self.state.finished = False

    def use_average(self):
        """The model with the averaged weights put in where there are some; training cannot go on with it then."""
        if self.average is not None and self.average.updates:
            means = self.average.state_dict()
            del means["updates"]
            self._parameters.load_state_dict({name.removeprefix("average."): array for name, array in means.items()})
        return self.model

    def draw(self) -> str | None:
        """loss.png, if matplotlib is there."""
        return plot(self.folder.path)

    def close(self) -> None:
        """Close the log, and let other processes train here."""
        try:
            self.log.close()
        finally:
            self.folder.close()
