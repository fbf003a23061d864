"""What a model must be to be trained: one page for whoever writes a model of their own.

`Loop` trains anything that keeps the protocol `Trainable`: four names, of which the two methods are the pair that everything in
minilm has. No base class is needed, though one derived from `minilm.layers.Layer` has ``parameters`` and ``device`` already.

::

    model.parameters             a minilm.layers.Parameters: named arrays that are views into one flat buffer, beside a second
                                 one for their gradients. Optimizer, clipping and averaging work on the buffers, whatever the
                                 model is.
    model.device                 "cpu" or "cuda": where they lie, and where the loop puts each batch.

    loss, saved = model.forward(*batch, key=key)
                                 `batch` is what the loop's batches are: a tuple of arrays, of any number and meaning. `loss` is
                                 a scalar, the mean over the batch; on a GPU an array without axes, which nobody looks at before
                                 it must be. `saved` is what backward needs, in any form; the model itself keeps nothing. `key`
                                 is for dropout, Key(seed, step), another in every step; a model without dropout ignores it.
    model.backward(saved)        *adds* the gradient of the loss by every parameter to its buffer: parameter.accumulate(dW). The
                                 optimizer clears the buffer in the step that reads it.

Arrays that one step alone needs may come from `minilm.ops.workspace.empty`: a workspace is active while forward and backward run,
and the next step writes over it. So ``saved`` may lie in it, but nothing that is to last.

`minilm.training.Trainer`, the loop behind ``minilm train``, carries states, evaluates a text and writes a folder, and asks for
more: see `LanguageModel`.

Examples
--------
A table of logits, by which the last token tells the next; its gradient is derived by hand, as all are here:

>>> import numpy as np
>>> from minilm import layers, optimizers, training
>>> class Bigram:
...     device = "cpu"
...
...     def __init__(self, vocab_size, seed=0):
...         first = np.random.default_rng(seed).normal(0, 0.1, (vocab_size, vocab_size))
...         self.W = layers.Parameter(first.astype(np.float32))  # (V, V)
...         self.parameters = layers.Parameters([("W", self.W)])
...
...     def forward(self, ids, targets, *, key=None):
...         logits = self.W.value[ids]  # (B, T, V)
...         p = np.exp(logits - logits.max(axis=-1, keepdims=True))
...         p /= p.sum(axis=-1, keepdims=True)
...         return -np.log(np.take_along_axis(p, targets[..., None], axis=-1)).mean(), (ids, targets, p)
...
...     def backward(self, saved):
...         ids, targets, p = saved
...         dlogits = p - np.eye(p.shape[-1], dtype=p.dtype)[targets]  # (B, T, V)
...         np.add.at(self.W.gradient, ids, dlogits / ids.size)
>>> model = Bigram(5)
>>> isinstance(model, training.Trainable)
True

Tokens that count up, 0 1 2 3 4 0 1 ..., in batches of any iterable:

>>> ids = (np.arange(40).reshape(4, 10)) % 5  # (B, T)
>>> loop = training.Loop(model, optimizers.Adam(model.parameters, lr=0.1), [(ids, (ids + 1) % 5)] * 100)
>>> loop.run()
>>> loop.state.step, bool(loop.loss < 0.01)
(100, True)
>>> model.W.value.argmax(axis=1).tolist()
[1, 2, 3, 4, 0]

`minilm.gradcheck` says whether ``backward`` is the derivative of ``forward``.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from minilm.layers.parameters import Parameters
from minilm.ops import checks
from minilm.optimizers import Optimizer

__all__ = ["LanguageModel", "Trainable", "check_trainable"]


@runtime_checkable
class Trainable(Protocol):
    """What `Loop` trains; the module's page says what each name must do."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def device(self) -> str: ...

    def forward(self, *batch: Any, **options: Any) -> tuple[Any, Any]: ...  # options: key

    def backward(self, saved: Any) -> Any: ...


def check_trainable(model: Any, optimizer: Any) -> None:
    """TypeError or ValueError unless a model has what a step needs, and the optimizer is one of its parameters."""
    missing = [name for name in ("parameters", "device", "forward", "backward") if not hasattr(model, name)]
    if missing:
        raise TypeError(f"{type(model).__name__} has no {missing[0]}: see minilm.training.Trainable, what a model must be")
    if not hasattr(optimizer, "step"):
        raise TypeError(f"optimizer must be one of minilm.optimizers, got {checks.describe(optimizer)}")
    if isinstance(optimizer, Optimizer):
        own = {id(model.parameters.entry(name)) for name in model.parameters}
        others = [name for name in optimizer.parameters if id(optimizer.parameters.entry(name)) not in own]
        if others:
            raise ValueError(f"optimizer must be one of this model's parameters, and {others[0]} belongs to another model")


@runtime_checkable
class LanguageModel(Trainable, Protocol):
    """What `minilm.training.Trainer` trains, `minilm.training.evaluate` measures and a run's folder holds.

    Attributes
    ----------
    config
        Its ``to_dict()`` is config.json, from which `minilm.models.from_config` makes the model again; ``vocab_size``.
    objective : {"next", "masked"}
        What the targets are: the tokens that follow, or those that were masked.
    carries_state : bool
        Whether ``forward(ids, targets, state)`` takes the state that ``saved.state`` had after the batch before; then there is
        ``initial_state(batch)`` too. Of other models ``context`` is the most tokens they read at once.

    Notes
    -----
    To be evaluated, a model of next tokens has ``loss``, which takes what forward takes and gives the mean loss alone, beside it
    the state where one is carried; a model of masked tokens has ``score``.
    """

    objective: str
    carries_state: bool

    @property
    def config(self) -> Any: ...

    def backward(self, saved: Any, *, dloss: Any = 1.0) -> Any: ...

    def to(self, where: Any) -> Any:
        """Itself, moved to another device."""

    def diagnose(self, *batch: Any, **options: Any) -> str | None:
        """The name of the first array of a step that is not finite, for the message of `NonFiniteError`."""
