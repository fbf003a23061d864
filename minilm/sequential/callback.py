"""The base of what `Sequential.fit` calls as it goes along, evaluate and predict too; and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from minilm.ops import checks

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["Callback", "History", "LambdaCallback", "attached", "notify"]


class Callback:
    """Base of all callbacks: each method is called at its time, and does nothing unless it is overridden.

    Attributes
    ----------
    model : Sequential
    params : dict
        ``epochs``, ``steps`` and ``verbose`` of the call of fit.
    """

    def __init__(self) -> None:
        self.model = None
        self.params: dict = {}

    def set_model(self, model: Sequential) -> None:
        """Called before training."""
        self.model = model

    def set_params(self, params: dict) -> None:
        """Called before training."""
        self.params = params

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict | None = None) -> None:
        """After the last one."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """`epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """`logs` has the epoch's loss and metrics, and with ``val_`` before their names those of the validation data."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0 in every epoch."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """`logs` has the means since the epoch's start. To have them, a GPU is waited for after every batch."""

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Before evaluate, or the validation of an epoch."""

    def on_test_end(self, logs: dict | None = None) -> None:
        """`logs` has the loss and the metrics."""

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_predict_begin(self, logs: dict | None = None) -> None:
        """Before predict."""

    def on_predict_end(self, logs: dict | None = None) -> None:
        """After it."""

    def on_predict_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    @property
    def wants_every_batch(self) -> bool:
        """Whether `on_train_batch_end` must be told of numbers after every batch: where it is overridden."""
        return getattr(self.on_train_batch_end, "__func__", None) is not Callback.on_train_batch_end


def attached(model: Sequential, callbacks: Iterable[Callback] | None) -> list[Callback]:
    """The callbacks, which know the model from now on; TypeError for what is none."""
    watching = list(callbacks or [])
    for callback in watching:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold callbacks of minilm.sequential, got {checks.describe(callback)}")
    for callback in watching:
        callback.set_model(model)
    return watching


def notify(watching: Iterable[Callback], event: str, *arguments: Any) -> None:
    """Call a method of all callbacks."""
    for callback in watching:
        getattr(callback, event)(*arguments)


class History(Callback):
    """What fit returns: ``history.history["loss"]`` is a list with a number for each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """Functions in the place of methods: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))``."""

    def __init__(self, **functions: Callable | None) -> None:
        super().__init__()
        for name, function in functions.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = ", ".join(sorted(each for each in dir(Callback) if each.startswith("on_")))
                raise TypeError(f"LambdaCallback has no {name!r}; there are {known}")
            if function is not None:
                setattr(self, name, function)
