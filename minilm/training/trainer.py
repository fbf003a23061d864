"""The training of a language model, which keeps a run's folder.

The steps, and validation between them, are `minilm.training.language_model`; what is done between the steps,
`minilm.training.callbacks`.

All that a step depends on is in the checkpoint, so a run that was stopped goes on as if it had not been, bit for bit.

A budget in minutes counts from when the kernels are compiled (`Trainer.warm_up` runs each once) to the last evaluation;
validation and checkpoints in between count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from minilm import distributed
from minilm.tokenizers import Tokenizer
from minilm.training import kept, provenance, snapshot
from minilm.training.build import Parts
from minilm.training.callbacks import Bar, Checkpoints, Kept, Rows, Signals, Stopped, Validation
from minilm.training.checkpoint import Checkpoint
from minilm.training.divergence import check_weights
from minilm.training.evaluation import Evaluation
from minilm.training.events import Callback
from minilm.training.language_model import LanguageModelLoop
from minilm.training.log import Log, NoLog, Progress
from minilm.training.protocol import LanguageModel
from minilm.training.run_folder import Folder
from minilm.training.settings import flattened
from minilm.training.state import TrainingState
from minilm.training.trace import Trace
from minilm.typing import Array, Scalar

__all__ = ["Trainer"]


class Trainer(LanguageModelLoop):
    """Trains a language model and keeps the run's folder.

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
        distributed.require_same({**flattened(state.config.to_dict()), "text": state.corpus_sha256})
        super().__init__(state, model, tokenizer, parts, callbacks)
        self.folder = folder
        self.saved = state.step  # step of the last checkpoint
        self._rates: dict[int, float] = {}  # of steps whose losses nobody has looked at yet
        if checkpoint is None:
            self.save(first=True)
            if self.leads:
                kept.forget(folder.path)
        else:
            self._restore(checkpoint)
        self.log: Any = Log(folder.path, state.log_bytes) if self.leads else NoLog()
        self.trace: Any = Trace(folder.path, state.trace_bytes) if self.leads else NoLog()

    # --- training -----------------------------------------------------------------------------------------------------

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
        self.shown = shown or self.shown
        every = config.evaluate_every or ("epoch" if config.schedule.name == "plateau" else None)
        with self.on_gpu():
            super().run(
                Validation(self.batches.epoch_steps if every == "epoch" else every, config.evaluate_seconds),
                Rows(config.log_every),
                Bar(self.shown),
                Checkpoints(config.checkpoint_every, config.checkpoint_seconds),
                Kept(config.keep_every),
                signals,
            )
        if signals.stopped:
            raise Stopped(self.folder.path, self.state.step, signals.signal)

    def step(self, batch: tuple) -> tuple:
        self._rates[self.state.step] = self.lr
        return super().step(batch)

    def take(self, step: int, loss: float, norm: float | None) -> None:
        super().take(step, loss, norm)
        self.trace.add(step + 1, self._rates.pop(step), loss, norm)

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
        """Write a row of the log: the state, and what the arguments say; `rate` in tokens a second. None leaves a cell empty."""
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
            self.shown.say(
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
