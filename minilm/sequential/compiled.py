"""A stack of layers with a loss, an optimizer and metrics: what a step of training computes.

::

    x, mask   = layers[0](x), layers[0].compute_mask(x)        and so on through all layers
    values    = loss(y, outputs)                               (B,), or (B, T) where outputs are (B, T, C)
    loss      = Σ counts s values / Σ counts                   counts: 1, or 0 where the mask or `ignore_class` leaves a value out
                                                               s: sample weights and class weights, 1 without them

So the loss is the mean over the values that count. As in Keras, the weights s are in the sum alone, not in what divides it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.random import Key, at
from minilm.sequential import activations
from minilm.sequential.core import Embedding
from minilm.sequential.data import targets
from minilm.sequential.losses import Loss, loss_of
from minilm.sequential.metrics import Metric, metric_of
from minilm.sequential.optimizers import Optimizer, optimizer_of
from minilm.sequential.stack import Stack
from minilm.typing import Array, DType, Scalar, Seed

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Compiled", "Saved"]


class Saved(NamedTuple):
    """What backward needs, and what the metrics look at."""

    parts: list  # what each layer saved
    loss: Any  # what the loss saved
    dvalues: np.ndarray  # gradient of the loss by its values, (B,) or (B, T)
    outputs: np.ndarray  # of the last layer, before its activation where the loss takes it so
    mask: np.ndarray | None  # of the outputs
    logits: bool


class CompileOptions(TypedDict, total=False):
    """Arguments that `compile` accepts because Keras does; they change nothing here."""

    run_eagerly: bool
    jit_compile: bool | str
    steps_per_execution: int
    auto_scale_loss: bool


class Compiled(Stack):
    """`Sequential` without its loops: what one step computes. Parameters are those of `Stack`."""

    def __init__(self, name: str, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(name, dtype=dtype, seed=seed)
        self.loss: Loss = None  # type: ignore[assignment]
        self.optimizer: Optimizer = None  # type: ignore[assignment]
        self._metrics_argument: list = []  # metrics, as compile was given them
        self._owner = object()  # by which an optimizer knows whose parameters it has

    def _changed(self) -> None:
        """There are other parameters now: the optimizer forgets its state, and gets a new one at the next step."""
        if self.optimizer is not None:
            self.optimizer.release(self._owner)

    def to(self, where: str | DType) -> Compiled:
        """See `Sequential.to`."""
        moved = isinstance(where, str) and self.optimizer is not None and self.optimizer.belongs_to(self._owner)
        state = self.optimizer.state_dict() if moved else None
        super().to(where)
        if moved:
            self._bind_optimizer(state)
        return self

    def compile(
        self,
        optimizer: str | Optimizer | type = "rmsprop",
        loss: str | Loss | type | None = None,
        metrics: list | str | Metric | Callable | None = None,
        **others: Unpack[CompileOptions],
    ) -> None:
        """Choose loss, optimizer and metrics.

        Parameters
        ----------
        optimizer : str or Optimizer
            sgd, rmsprop, adam, adamw, or one of `minilm.sequential.optimizers`.
        loss : str or Loss
            sparse_categorical_crossentropy, categorical_crossentropy, binary_crossentropy, mse, mae, or one of
            `minilm.sequential.losses`.
        metrics : list of str, Metric or functions, or one of these, optional
            accuracy, a loss's name, or ``function(y_true, y_pred)`` that returns a number for every row.
        run_eagerly, jit_compile, steps_per_execution, auto_scale_loss
            Accepted as Keras accepts them; they change nothing here.

        Raises
        ------
        ValueError
            If there is no loss, or a name is not known.
        TypeError
            For an argument that `compile` does not have.
        """
        for name in others:
            if name not in CompileOptions.__annotations__:
                raise TypeError(f"compile has no argument {name!r}")
        if loss is None:
            raise ValueError("loss is missing: such as loss='sparse_categorical_crossentropy'")
        loss, optimizer = loss_of(loss), optimizer_of(optimizer)
        one = isinstance(metrics, (str, Metric)) or callable(metrics)
        metrics = [] if metrics is None else [metrics] if one else list(metrics)
        for each in metrics:
            metric_of(each, loss, 2)  # a wrong name is refused now
        self.loss, self.optimizer, self._metrics_argument = loss, optimizer, metrics
        if optimizer.belongs_to(self._owner):  # compiled anew: it goes on, and knows which layers are frozen now
            self._bind_optimizer(optimizer.state_dict())

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.loss is not None

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns, in its order: "loss", then the metrics."""
        return ["loss", *(metric.name for metric in self.metric_objects())]

    def metric_objects(self) -> list[Metric]:
        """The metrics that `compile` was given, as new objects that have counted nothing yet."""
        return [metric_of(each, self.loss, self.output_shape[-1] if self.built else 2) for each in self._metrics_argument]

    def _must_be_compiled(self, what: str) -> None:
        if not self.compiled:
            raise ValueError(f"{what} needs a loss and an optimizer: call compile(loss=..., optimizer=...) first")

    def run(self, x: Array, *, key: Key | None = None, logits: bool = False) -> tuple[Array, Array | None, list]:
        """Take inputs through all layers.

        Parameters
        ----------
        x : ndarray, shape (B, ...)
            On the model's device.
        key : Key, optional
            For dropout; without it there is none.
        logits : bool
            Leave out the last layer's activation.

        Returns
        -------
        outputs : ndarray, shape (B, ...)
        mask : ndarray of bool, shape (B, T), or None
            Of the outputs.
        parts : list
            What each layer saved.
        """
        x = x if x.dtype == self.dtype or isinstance(self.layers[0], Embedding) else x.astype(self.dtype)
        mask, parts = None, []
        for number, layer in enumerate(self.layers):
            options: dict[str, Any] = {"key": at(key, f"layers.{number}")}
            if logits and layer is self.layers[-1]:
                options["logits"] = True
            following = layer.compute_mask(x, mask)
            x, saved = layer.forward(x, mask, **options)
            mask = following
            parts.append(saved)
        return x, mask, parts

    def _takes_logits(self) -> bool:
        """Whether the loss can be computed from the last activation's argument, and so more exactly: of a softmax, say."""
        return not self.loss.from_logits and getattr(self.layers[-1], "activation", None) == self.loss.follows != ""

    def forward(self, x: Array, y: Array, sample_weight: Array | None = None, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        x : ndarray, shape (B, ...)
        y : ndarray
            Targets in the form that the loss takes: class numbers (B,) or (B, T), or numbers of the outputs' shape.
        sample_weight : ndarray, shape (B,) or (B, T), optional
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        loss : scalar of the model's dtype
        saved : Saved
            For `backward`.

        Raises
        ------
        ValueError
            If `compile` was not called, or y does not fit the outputs.

        Notes
        -----
        Of a model on a GPU all arrays lie there, and so does the loss. `fit`, `evaluate` and `predict` take arrays of the host.
        """
        self._must_be_compiled("the loss")
        logits = self._takes_logits()
        outputs, mask, parts = self.run(x, key=key, logits=logits)
        y = y if checks.trusted(y) else targets(self, y, outputs.shape)
        values, saved = self.loss.forward(y, outputs, logits or self.loss.from_logits)  # (B,) or (B, T)
        weights = devices.array_module(values).full(values.shape, 1 / values.size, values.dtype)
        counts = [each for each in (mask, self.loss.counted(y)) if each is not None and each.shape == values.shape]
        if counts:
            counted = functools.reduce(np.logical_and, counts)
            weights = (counted / np.maximum(1, counted.sum())).astype(values.dtype)
        if sample_weight is not None:
            sample_weight = sample_weight.reshape(sample_weight.shape + (1,) * (values.ndim - sample_weight.ndim))
            weights = weights * sample_weight.astype(values.dtype, copy=False)
        loss = np.sum(np.where(weights == 0, 0, values) * weights, dtype=np.float64).astype(values.dtype)
        return loss, Saved(parts, saved, weights, outputs, mask, logits)

    def backward(self, saved: Saved) -> None:
        """Add the gradients of the loss by all parameters to their buffer, from what `forward` saved.

        Raises
        ------
        ValueError
            If a layer stands before one that takes ids, through which no gradient passes.
        """
        dy = self.loss.backward(saved.dvalues, saved.loss)
        for layer, part in zip(reversed(self.layers), reversed(saved.parts), strict=True):
            if dy is None:
                raise ValueError(f"layer {layer.label()} stands before a layer that takes ids, so it has no gradient")
            dy = layer.backward(dy, part)

    def probabilities(self, saved: Saved) -> np.ndarray:
        """The outputs (B, ..., C) after the last activation, from what `forward` saved."""
        if not saved.logits:
            return saved.outputs
        return activations.forward(self.layers[-1].activation, saved.outputs)[0]

    def ready_optimizer(self) -> None:
        """Give the optimizer this model's parameters, with a state of zeros, unless it has them already.

        Raises
        ------
        ValueError
            If the optimizer has another model's parameters.
        """
        optimizer = self.optimizer
        if optimizer.belongs_to(self._owner):
            if optimizer.frozen != self._frozen():
                self._bind_optimizer(optimizer.state_dict())
        elif optimizer.bound:
            raise ValueError(
                f"optimizer {optimizer.name!r} of model {self.name!r} trains another model already: "
                f"compile with one of its own, such as optimizer={optimizer.name!r}"
            )
        else:
            self._bind_optimizer()

    def _frozen(self) -> tuple[str, ...]:
        """Beginnings of the names of the parameters that are not trained."""
        return tuple(f"layers.{i}." for i, layer in enumerate(self.layers) if not layer.trainable)

    def _bind_optimizer(self, state: dict | None = None) -> None:
        """Give it the parameters, with `state` or a state of zeros; frozen layers get no weight decay and lose their momentum."""
        frozen = self._frozen()
        self.optimizer.bind(self.parameters, frozen, self._owner)
        for name, array in (state or {}).items():
            if frozen and name.partition(".")[2].startswith(frozen):
                array[...] = 0
        if state:
            self.optimizer.load_state_dict(state)

    def update(self) -> float | None:
        """One step of the optimizer on the gradients, without the frozen layers'.

        Returns
        -------
        float or None
            The norm of all gradients before clipping, where the optimizer has a `global_clipnorm`.
        """
        self.ready_optimizer()
        for layer in self.layers:
            if not layer.trainable:
                for _, parameter in layer.named_parameters():
                    parameter.gradient[...] = 0
        return self.optimizer.step()
