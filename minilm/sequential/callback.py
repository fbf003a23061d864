"""Callbacks: what `Sequential.fit`, `evaluate` and `predict` call while they run, and how they call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from minilm.ops import checks

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["Callback", "History", "LambdaCallback", "attached", "notify"]


class Callback:
    """Base of all callbacks. A callback overrides the methods at whose times it has something to do; the others do nothing.

    `logs` maps "loss" and the metrics' names to numbers where a method's text says so; elsewhere it is None.

    Attributes
    ----------
    model : Sequential
        The model that is trained, measured or predicting.
    params : dict
        ``epochs``, ``steps`` (batches of an epoch, None where that is not known) and ``verbose`` of the call of fit.
    """

    def __init__(self) -> None:
        self.model = None
        self.params: dict = {}

    def set_model(self, model: Sequential) -> None:
        """Called first of all, with the model that the callback is used on."""
        self.model = model

    def set_params(self, params: dict) -> None:
        """Called before training; `params` is that of the class."""
        self.params = params

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: dict | None = None) -> None:
        """After the last epoch, with its `logs`."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Before the first batch of an epoch; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """After an epoch and its validation: `logs` has the means over the epoch, and the validation's, as ``val_loss``."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0 in every epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a batch: `logs` has the means since the epoch began. On a GPU, to override it costs a wait for every batch."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Before evaluate, or the validation after an epoch."""

    def on_test_end(self, logs: dict | None = None) -> None:
        """After it: `logs` has the means over its batches."""

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_predict_begin(self, logs: dict | None = None) -> None:
        """Before predict."""

    def on_predict_end(self, logs: dict | None = None) -> None:
        """After predict."""

    def on_predict_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """`batch` counts from 0."""

    @property
    def wants_every_batch(self) -> bool:
        """Whether `on_train_batch_end` needs its `logs` after every batch: only where it is overridden."""
        names = "on_train_batch_end", "on_batch_end"
        return any(getattr(getattr(self, name), "__func__", None) is not getattr(Callback, name) for name in names)


def attached(model: Sequential, callbacks: Callback | Iterable[Callback] | None) -> list[Callback]:
    """One callback or several as a list, each with `set_model` called; TypeError for what is no callback."""
    watching = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
    for callback in watching:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold callbacks of minilm.sequential, got {checks.describe(callback)}")
    for callback in watching:
        callback.set_model(model)
    return watching


def notify(watching: Iterable[Callback], event: str, *arguments: Any) -> None:
    """Call method `event` of every callback."""
    for callback in watching:
        getattr(callback, event)(*arguments)


class History(Callback):
    """The record that `Sequential.fit` returns.

    Attributes
    ----------
    history : dict of str to list of float
        A number for each epoch: ``history["loss"]``, and likewise the metrics and what the validation gave (``val_loss``).
    epoch : list of int
        The epochs' numbers, from `initial_epoch` on.
    """

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
    """A callback made of functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))``.

    Parameters
    ----------
    **functions : callable
        By the name of the method of `Callback` that each stands for, and with its arguments.

    Raises
    ------
    TypeError
        If `Callback` has no method of a name.
    """

    def __init__(self, **functions: Callable | None) -> None:
        super().__init__()
        for name, function in functions.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = ", ".join(sorted(each for each in dir(Callback) if each.startswith("on_")))
                raise TypeError(f"LambdaCallback has no {name!r}; there are {known}")
            if function is not None:
                setattr(self, name, function)
