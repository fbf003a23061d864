"""The events of a training loop, and the callbacks that listen to them.

::

    on_train_begin
    on_step_begin, on_step_end          each step
    on_validation_end, on_checkpoint    when there was one
    on_train_end
    close                               however training ended
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from minilm.mistaken import did_you_mean

if TYPE_CHECKING:
    from minilm.training.loop import Loop

__all__ = ["EVENTS", "Callback", "checked", "listeners"]


class Callback:
    """Base of what watches a training loop. A callback overrides the methods of the events that it needs; the others do nothing.

    A method may read the loop (``loop.state.step``, ``loop.loss``, ``loop.model``, ...: see `Loop`), end training after the step
    with ``loop.stop()``, or raise, which ends it at once, without another checkpoint. Callbacks that are handed to a loop are
    called first, in their order, and the loop's own after them: so the log and the checkpoint of a step know of a stop in it.

    Examples
    --------
    Keep the losses, and end training when the first is halved:

    >>> import numpy as np
    >>> from minilm import data, models, optimizers, training
    >>> class Halved(training.Callback):
    ...     def on_train_begin(self, loop):
    ...         self.losses = []
    ...
    ...     def on_step_end(self, loop):
    ...         self.losses.append(loop.loss)
    ...         if self.losses[-1] < self.losses[0] / 2:
    ...             loop.stop()
    >>> tokens = np.arange(1000) % 7
    >>> model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=16), seed=0)
    >>> batches = data.batches(tokens, batch=4, time=10, seed=0)
    >>> halved = Halved()
    >>> loop = training.Loop(model, optimizers.Adam(model.parameters, lr=0.03), batches, steps=500, callbacks=[halved])
    >>> loop.run()
    >>> len(halved.losses) == loop.state.step < 100
    True

    ``training.train(config, callbacks=[...])`` takes them too.
    """

    def on_train_begin(self, loop: Loop) -> None:
        """Before the first step, after kernels have been compiled."""

    def on_step_begin(self, loop: Loop) -> None:
        """Before each step; ``loop.lr``, its learning rate, may be changed here (of ``Sequential.fit`` that of its optimizer)."""

    def on_step_end(self, loop: Loop) -> None:
        """After each step. ``loop.loss`` is the loss of its batch, before its update; to read it from a GPU costs a wait."""

    def on_validation_end(self, loop: Loop, evaluation: Any) -> None:
        """After each validation, also the last one, which follows `on_train_end`.

        `evaluation` is a `minilm.training.Evaluation`; of a recipe the main metric, a number; of ``Sequential.fit`` a dict.
        """

    def on_checkpoint(self, loop: Loop) -> None:
        """After each checkpoint, which is in the folder then."""

    def on_train_end(self, loop: Loop) -> None:
        """After the last step, also if a callback or a signal stopped training; not if something was raised."""

    def close(self) -> None:
        """Release what the callback holds, such as open files; called however training ended."""


EVENTS = {name: method for name, method in vars(Callback).items() if name.startswith("on_")}


def checked(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks as a list; TypeError for what is no callback, and for a method on_... that no event has."""
    if isinstance(callbacks, Callback):
        raise TypeError(f"callbacks must be a list of them, got {type(callbacks).__name__} alone")
    callbacks = list(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold instances of minilm.training.Callback, got {callback!r:.60}")
        for name in dir(type(callback)):
            if name.startswith("on_") and name not in EVENTS:
                raise TypeError(f"{type(callback).__name__} has {name}, which is no event: {did_you_mean(name, EVENTS)}")
    return callbacks


def listeners(callbacks: Iterable[Callback]) -> dict[str, list[Callable]]:
    """For each event the methods to call: those of the callbacks that override it."""
    methods = {name: [getattr(callback, name) for callback in callbacks] for name in EVENTS}
    return {name: [each for each in methods[name] if getattr(each, "__func__", None) is not EVENTS[name]] for name in EVENTS}
