"""Callbacks that watch a number of each epoch, or the loss of each batch."""

from __future__ import annotations

import math
import os
import warnings

from minilm.ops import checks
from minilm.sequential.callback import Callback
from minilm.sequential.saving import format_of
from minilm.typing import PathLike

__all__ = ["EarlyStopping", "ModelCheckpoint", "Monitor", "TerminateOnNaN"]


class Monitor(Callback):
    """Base of callbacks that watch one number of each epoch.

    Parameters
    ----------
    monitor : str
        The number's name in `logs`: "loss", "val_loss", "val_accuracy" ...
    mode : {"auto", "min", "max"}
        Whether lower or higher is better. "auto" takes higher where the name has acc, auc, precision or recall in it.
    min_delta : float
        A number is better when it beats the best by more than this.

    Raises
    ------
    ValueError
        If `mode` is none of its choices.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        super().__init__()
        self.monitor = monitor
        mode = checks.option("mode", mode, ("auto", "min", "max"))
        self._up = mode == "max" or (mode == "auto" and any(part in monitor for part in ("acc", "auc", "precision", "recall")))
        self.min_delta = abs(checks.number("min_delta", min_delta, -math.inf, math.inf))
        self.best: float | None = None

    def value(self, logs: dict | None) -> float | None:
        """The number watched; None, and a warning, where `logs` has none of its name."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            names = ", ".join(logs or {}) or "none"
            warnings.warn(f"{type(self).__name__} watches {self.monitor!r}, which is not there; there are {names}", stacklevel=8)
        return value

    def better(self, value: float, than: float | None) -> bool:
        """Whether `value` beats `than` by more than `min_delta`; anything beats None."""
        if than is None:
            return True
        return value - self.min_delta > than if self._up else value + self.min_delta < than


class EarlyStopping(Monitor):
    """End training when a number has not become better for `patience` epochs.

    Parameters
    ----------
    monitor : str
        The number's name in `logs`: "loss", "val_loss", "val_accuracy" ...
    min_delta : float
        A number is better when it beats the best by more than this.
    patience : int
        So many epochs in a row without a better number end training.
    verbose : int
        Whether to print a line when that happens: not with 0.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better. "auto" takes higher where the name has acc, auc, precision or recall in it.
    baseline : float, optional
        Epochs whose number is better, but does not beat this, count as epochs without a better one.
    restore_best_weights : bool
        Leave the model with the weights of its best epoch.
    start_from_epoch : int
        The first epoch that is watched, from 0 on.

    Attributes
    ----------
    best : float or None
        The best number so far.
    best_epoch, stopped_epoch : int
        The best number's epoch, from 0 on; the epoch after which training ended, 0 if it was not ended.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int | str = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.whole("patience", patience, 0, 2**31)
        self.verbose, self.baseline = verbose, baseline
        self.restore_best_weights = checks.flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = checks.whole("start_from_epoch", start_from_epoch, 0, 2**31)
        self.stopped_epoch = self.best_epoch = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights = None, None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        current = self.value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.better(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.better(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(Monitor):
    """Save the model after every epoch.

    Parameters
    ----------
    filepath : str or os.PathLike
        May hold ``{epoch}``, which counts from 1, and names in `logs`: ``"model-{epoch:02d}-{val_loss:.3f}.safetensors"``. Its
        end decides the format, as for `Sequential.save`.
    monitor : str
        The number to watch, where `save_best_only` is set.
    verbose : int
        Whether to print a line for each file: not with 0.
    save_best_only : bool
        Save only after epochs whose number is better than all before.
    save_weights_only : bool
        Write what `Sequential.save_weights` writes.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better; see `EarlyStopping`.
    save_freq : {"epoch"}

    Raises
    ------
    ValueError
        If `save_freq` or `mode` is none of its choices, or the format needs a library that is missing; after the first epoch, if
        `filepath` has a name that `logs` has not.
    """

    def __init__(
        self,
        filepath: PathLike,
        monitor: str = "val_loss",
        verbose: int | str = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
    ):
        super().__init__(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        format_of(self.filepath)  # raises now, not after an epoch, if a library to write it is missing
        self.save_best_only = checks.flag("save_best_only", save_best_only)
        self.save_weights_only = checks.flag("save_weights_only", save_weights_only)
        checks.option("save_freq", save_freq, ("epoch",))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.save_best_only:
            current = self.value(logs)
            if current is None or not self.better(current, self.best):
                return
            self.best = current
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            names = ", ".join(["epoch", *(logs or {})])
            raise ValueError(f"filepath {self.filepath!r} asks for {error}; there are {names}") from None
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saving model to {path}")


class TerminateOnNaN(Callback):
    """End training after a batch whose mean loss is not finite; on a GPU at most fifty batches later, when the loss is read."""

    wants_every_batch = False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            print(f"Batch {batch}: the loss is not finite, training ends")
            self.model.stop_training = True
