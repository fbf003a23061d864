"""Callbacks that set the learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from minilm.ops import checks
from minilm.sequential.callback import Callback
from minilm.sequential.monitors import Monitor

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


def _settable(callback: Callback):
    """The model's optimizer; TypeError where a callback cannot set its learning rate, since that is a function of the step."""
    optimizer = callback.model.optimizer
    if callable(optimizer.learning_rate):
        raise TypeError(
            f"{type(callback).__name__} sets the learning rate, but the optimizer's is a function of the step: "
            "make the optimizer with a number"
        )
    return optimizer


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by `factor` when a number has not become better for `patience` epochs.

    `History` gets the ``learning_rate`` of each epoch.

    Parameters
    ----------
    monitor : str
        The number's name in `logs`: "loss", "val_loss", "val_accuracy" ...
    factor : float
        In [0, 1).
    patience : int
        So many epochs in a row without a better number.
    verbose : int
        Whether to print the new learning rate: not with 0.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better. "auto" takes higher where the name has acc, auc, precision or recall in it.
    min_delta : float
        A number is better when it beats the best by more than this.
    cooldown : int
        After a reduction ``cooldown - 1`` epochs are not counted, as in Keras: 1 does the same as 0.
    min_lr : float
        The learning rate does not fall below it.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        When training begins, if the optimizer's learning rate is a function.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int | str = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = checks.number("factor", factor, 0, 1, high_open=True)
        self.patience = checks.whole("patience", patience, 0, 2**31)
        self.cooldown = checks.whole("cooldown", cooldown, 0, 2**31)
        self.min_lr, self.verbose = checks.number("min_lr", min_lr, 0, math.inf), verbose

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.wait, self.cooling, self.best = 0, 0, None
        _settable(self)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        optimizer, logs = _settable(self), {} if logs is None else logs
        current = self.value(logs)
        logs["learning_rate"] = optimizer.learning_rate
        if current is None:
            return
        if self.cooling:
            self.cooling, self.wait = self.cooling - 1, 0
        if self.better(current, self.best):
            self.best, self.wait = current, 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")


class LearningRateScheduler(Callback):
    """Set the learning rate before every epoch. `History` gets the ``learning_rate`` of each epoch.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` or ``schedule(epoch)`` returns the learning rate; epochs count from 0.
    verbose : int
        Whether to print it: not with 0.

    Raises
    ------
    TypeError
        If `schedule` cannot be called; when training begins, if the optimizer's learning rate is a function.
    ValueError
        Before an epoch, if `schedule` returns no finite number of at least 0.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int | str = 0):
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"schedule must be a function of (epoch, learning_rate) or of epoch, got {checks.describe(schedule)}")
        self.schedule, self.verbose = schedule, verbose
        self._reads_rate = _takes(schedule, 2)

    def on_train_begin(self, logs: dict | None = None) -> None:
        _settable(self)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        optimizer = _settable(self)
        rate = self.schedule(epoch, optimizer.learning_rate) if self._reads_rate else self.schedule(epoch)
        optimizer.learning_rate = checks.number("what schedule gives", rate, 0, math.inf, high_open=True)
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


def _takes(function, count: int) -> bool:
    """Whether a function can be called with `count` arguments; True where it has no signature that would say."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some built-in functions have no signature
        return True
    return True
