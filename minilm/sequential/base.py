"""The base of Sequential's layers: built when the shape of the input is known, with Keras's names, weights and masks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from minilm.layers.base import Layer, generator_of
from minilm.ops import checks
from minilm.random import Key
from minilm.sequential.initializers import Constant, Initializer
from minilm.typing import Array, DType, Seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["UNBUILT", "LayerOptions", "SequentialLayer", "snake_case", "units"]

UNBUILT = "give the model an Input, or call build, fit or predict first"
NO_BATCH = "input_shape must be a tuple of whole numbers or None without the batch, such as (None, 8)"


def snake_case(name: str) -> str:
    """The name that Keras gives a layer of this class: ``GlobalAveragePooling1D`` becomes ``global_average_pooling1d``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def units(name: str, value: int) -> int:
    """A width, as int; ValueError or TypeError, with the argument's `name`, unless it is a whole number of at least 1."""
    return checks.whole(name, value, 1, 2**31)


class LayerOptions(TypedDict, total=False):
    """What every layer of `Sequential` takes beside its own arguments; see `SequentialLayer`."""

    name: str | None
    trainable: bool
    input_shape: tuple | None
    batch_input_shape: tuple | None
    batch_shape: tuple | None
    input_dim: int | None
    dtype: DType | None


class _Configured(Layer):
    """Keeps the arguments that it is made with; apart from `SequentialLayer`, whose signature is that of its ``__init__``."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        self = super().__new__(cls)
        try:  # the arguments are the configuration, as they were given
            bound = inspect.signature(cls.__init__).bind(self, *arguments, **options)
        except TypeError:
            return self  # a copy, or a call that __init__ is about to refuse
        config = dict(bound.arguments)
        config.pop("self", None)
        config.update(config.pop("options", {}))
        self._config = config
        return self


class SequentialLayer(_Configured):
    """Base of the layers of `Sequential`.

    A layer is made before the shape of its input is known; `build` gives it its weights. From then on it keeps the contract of
    all layers, with the mask of its input as one more argument::

        y, saved = layer.forward(x, mask, key=key)
        dx       = layer.backward(dy, saved)
        mask     = layer.compute_mask(x, mask)                   for the next layer

    A mask is an array of bool, shape (B, T): True for the steps that count. None means that all of them do.

    Parameters
    ----------
    name : str, optional
        Without it the class's name in snake case, with a number from the second one in a model on.
    trainable : bool
        False keeps the weights as they are during training.
    input_shape, batch_shape : tuple or list of int or None, optional
        On the first layer of a model: the shape of its input without the batch, or with it; None for an axis of any length.
        An `input_shape` of one axis may be its size alone.
    batch_input_shape, input_dim
        Older spellings of ``batch_shape`` and of ``input_shape=(input_dim,)``.
    dtype : {float32, float64}, optional
        Accepted as Keras accepts it; the weights have the model's dtype.

    Attributes
    ----------
    built : bool
        Whether the layer has its weights.
    input_shape, output_shape : tuple of int or None
        The batch (None) included; None until the layer is built.

    Raises
    ------
    ValueError
        If the name is empty or has "/" in it, or a size in a shape is neither None nor a whole number of at least 1.
    TypeError
        If `input_shape` is of another type, `batch_shape` an int, or the dtype another one.
    """

    accepts: tuple[int, ...] = ()  # how many axes the input may have, the batch included; () means any
    letters = "(batch, ...)"  # the input's shape, for a message
    passes_mask = True
    reads_width = True  # whether the weights depend on the last axis of the input

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: tuple | None = None,
        batch_input_shape: tuple | None = None,
        batch_shape: tuple | None = None,
        input_dim: int | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(seed=0)
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a text without '/', got {name!r}")
        if dtype is not None and np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
        self.name = name
        self._named = name is not None
        self.trainable = checks.flag("trainable", trainable)
        self.built = False
        self.input_shape: tuple | None = None  # with the batch, once built
        self.output_shape: tuple | None = None
        batch_shape = batch_input_shape if batch_shape is None else batch_shape
        if batch_shape is not None:
            input_shape = tuple(batch_shape)[1:]
        elif input_shape is None and input_dim is not None:
            input_shape = (input_dim,)
        self.declared_shape = None if input_shape is None else (None, *shape_of(input_shape))

    # --- building ----------------------------------------------------------------------------------------------------

    def build(self, shape: tuple, generator: Seed = None, dtype: DType = np.float32) -> tuple:
        """Make the weights. The model calls it as soon as it knows the shape of its input.

        Parameters
        ----------
        shape : tuple of int or None
            Of the inputs, the batch (None) included.
        generator : int, Generator or None
            Where the first values come from; None takes fresh entropy.
        dtype : {float32, float64}
            Of the weights.

        Returns
        -------
        tuple of int or None
            The shape of the outputs, the batch included.

        Raises
        ------
        ValueError
            If the layer is built already, or cannot read inputs of this shape.
        """
        if self.built:
            raise ValueError(f"layer {self.label()} is built already; a layer stands in one place of one model")
        self.check_rank(shape)
        self._generator, self._dtype = generator_of(generator), np.dtype(dtype)
        self.make(shape)
        self.built, self.input_shape, self.output_shape = True, tuple(shape), self.compute_output_shape(shape)
        return self.output_shape

    def make(self, shape: tuple) -> None:
        """Declare the parameters for inputs of `shape`, the batch (None) included: a layer that has some overrides it."""

    def check_rank(self, shape: tuple) -> None:
        """ValueError unless the layer can read inputs of this shape, the batch included."""
        if self.accepts and len(shape) not in self.accepts:
            raise ValueError(f"layer {self.label()} wants inputs of shape {self.letters}, got {shape}")

    def check_width(self, shape: tuple) -> None:
        """ValueError unless the weights of a built layer fit inputs of this shape: the last axis must have kept its width."""
        if self.weight_shapes() and self.input_shape[-1] != shape[-1] and self.reads_width:
            raise ValueError(f"layer {self.label()} was built for inputs {self.input_shape[-1]} wide, got {shape}")

    def compute_output_shape(self, shape: tuple) -> tuple:
        """The shape of the outputs for inputs of `shape`, the batch (None) included."""
        return tuple(shape)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        """The mask of the outputs (B, T) for inputs x (B, T, ...) with `mask` (B, T); None where all steps count."""
        return mask if self.passes_mask else None

    # --- what a layer computes ---------------------------------------------------------------------------------------

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """The outputs, and what `backward` needs.

        Parameters
        ----------
        x : ndarray, shape (B, ...)
        mask : ndarray of bool, shape (B, T), optional
            True for the steps that count.
        key : Key, optional
            What dropout draws from; without it nothing is dropped.

        Returns
        -------
        y : ndarray, shape (B, ...)
        saved
            For `backward`.
        """
        return super().forward(x, mask, key=key)

    def backward(self, dy: Array, saved: Any) -> Array | None:
        """dx, of x's shape, from dy, of y's; None where x holds ids. Adds the weights' gradients to their buffer."""
        return super().backward(dy, saved)

    # --- weights, in Keras's order and shapes ------------------------------------------------------------------------

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Keras's name of each weight, and its shape in Keras's orientation; empty until the layer is built."""
        return {}

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights on the host, in Keras's order and orientation; an empty list until the layer is built."""
        return []

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy weights in.

        Parameters
        ----------
        weights : sequence of array_like
            In the order and with the shapes of `weight_shapes`.

        Raises
        ------
        ValueError
            If the layer is not built yet, or if their number or a shape differs.
        TypeError
            If one does not hold numbers.
        """
        self.assign([np.asarray(weight) for weight in self.check_weights(weights)])

    def check_weights(self, weights: Sequence[ArrayLike]) -> list:
        """The weights as arrays, if `set_weights` can take them; else what that raises."""
        shapes = self.weight_shapes()
        weights = [weight if hasattr(weight, "dtype") else np.asarray(weight) for weight in weights]
        if not self.built:
            raise ValueError(f"layer {self.label()} has no weights yet: {UNBUILT}")
        if len(weights) != len(shapes):
            names = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
            raise ValueError(f"layer {self.label()} has {len(shapes)} weights ({names}), got {len(weights)}")
        for (name, shape), weight in zip(shapes.items(), weights, strict=True):
            if weight.shape != shape:
                raise ValueError(f"{name} of layer {self.label()} must have shape {shape}, got {checks.describe(weight)}")
            if weight.dtype.kind not in "fiu":
                raise TypeError(f"{name} of layer {self.label()} must hold numbers, got {checks.describe(weight)}")
        return weights

    def assign(self, weights: list[np.ndarray]) -> None:
        """Copy in weights that `check_weights` has let pass."""

    def count_params(self) -> int:
        """How many numbers all weights hold together."""
        return self.parameters.count

    # --- configuration -----------------------------------------------------------------------------------------------

    def label(self) -> str:
        """The layer in messages: ``'lstm' (LSTM)``, its name and its class."""
        kind = type(self).__name__
        return f"{self.name!r} ({kind})" if self.name else kind

    def get_config(self) -> dict:
        """The arguments that the constructor got, as JSON can hold them, and the name.

        Raises
        ------
        ValueError
            For an argument that JSON cannot hold, such as a function as initializer.
        """
        config = {key: value for key, value in self._config.items() if key != "weights" and not _is_table(value)}
        as_json = {key: encoded(key, value, self) for key, value in config.items()}
        return {**as_json, "name": self.name}

    def settings(self) -> str:
        shown = {key: value for key, value in self._config.items() if not isinstance(value, (np.ndarray, Layer))}
        return ", ".join(f"{key}={value!r}" for key, value in shown.items())


def shape_of(shape) -> tuple:
    """A shape without the batch, or one size alone, as a tuple of int and None; ValueError or TypeError if it is none."""
    parts = (shape,) if isinstance(shape, (int, np.integer)) else shape
    if not isinstance(parts, (tuple, list)):
        raise TypeError(f"{NO_BATCH}; got {shape!r}")
    for part in parts:
        if part is not None and (isinstance(part, bool) or not isinstance(part, (int, np.integer)) or part < 1):
            raise ValueError(f"{NO_BATCH}; got {shape!r}")
    return tuple(None if part is None else int(part) for part in parts)


def _is_table(value) -> bool:
    """Whether an argument is a table that a weight starts from: the weight itself is saved, so the table need not be."""
    return isinstance(value, Constant) and isinstance(value.value, np.ndarray)


def encoded(key: str, value, layer):
    """Argument `key` of `layer` as JSON can hold it; ValueError where it cannot."""
    if isinstance(value, type) and issubclass(value, Initializer):
        value = value()
    if isinstance(value, (SequentialLayer, Initializer)):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [encoded(key, part, layer) for part in value]
    if isinstance(value, type) or isinstance(value, np.dtype):
        return np.dtype(value).name
    raise ValueError(f"{key} of layer {layer.label()} cannot be saved: {checks.describe(value)}; use one of the names for it")
