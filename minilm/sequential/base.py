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
from minilm.sequential.initializers import Constant, Initializer
from minilm.typing import Array, DType, Seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["UNBUILT", "LayerOptions", "SequentialLayer", "snake_case", "units"]

UNBUILT = "give the model an Input, or call build, fit or predict first"
NO_BATCH = "input_shape must be a tuple of whole numbers or None without the batch, such as (None, 8)"


def snake_case(name: str) -> str:
    """Keras's name of a layer of a class: ``GlobalAveragePooling1D`` gives ``global_average_pooling1d``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def units(name: str, value: int) -> int:
    """A width: a whole number of at least 1."""
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
    """What all layers of `Sequential` have.

    A layer is made without knowing what it reads; `build` gives it its weights. Then it keeps the contract of all layers, with
    the mask of its input as one more argument::

        y, saved = layer.forward(x, mask, key=key)
        dx       = layer.backward(dy, saved)
        mask     = layer.compute_mask(x, mask)                   what the next layer gets

    A mask is an array of bool, shape (B, T): True for the steps that count; or None, where all of them do.

    Parameters
    ----------
    name : str, optional
        The class's name in snake case without it, with a number where there are several.
    trainable : bool
        False keeps the weights as they are.
    input_shape, batch_input_shape : tuple, optional
        On the first layer of a model: the shape of its input without the batch, or with it.
    input_length, input_dim : int, optional
        On the first layer: older spellings of parts of that shape.
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
        """Make the weights for inputs of `shape`, the batch (None) included; returns the shape of the outputs."""
        if self.built:
            raise ValueError(f"layer {self.label()} is built already; a layer stands in one place of one model")
        self.check_rank(shape)
        self._generator, self._dtype = generator_of(generator), np.dtype(dtype)
        self.make(shape)
        self.built, self.input_shape, self.output_shape = True, tuple(shape), self.compute_output_shape(shape)
        return self.output_shape

    def make(self, shape: tuple) -> None:
        """Declare the parameters."""

    def check_rank(self, shape: tuple) -> None:
        """ValueError unless an input of this shape can be read."""
        if self.accepts and len(shape) not in self.accepts:
            raise ValueError(f"layer {self.label()} wants inputs of shape {self.letters}, got {shape}")

    def check_width(self, shape: tuple) -> None:
        """ValueError unless the weights, once made, fit inputs of this shape: their last axis must be as wide as before."""
        if self.weight_shapes() and self.input_shape[-1] != shape[-1] and self.reads_width:
            raise ValueError(f"layer {self.label()} was built for inputs {self.input_shape[-1]} wide, got {shape}")

    def compute_output_shape(self, shape: tuple) -> tuple:
        """The shape of the outputs for inputs of `shape`, the batch (None) included."""
        return tuple(shape)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        """The mask of the outputs."""
        return mask if self.passes_mask else None

    # --- weights, in Keras's order and shapes ------------------------------------------------------------------------

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Keras's names of the weights, and their shapes in Keras's orientation."""
        return {}

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights, in Keras's order and orientation."""
        return []

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy weights in, in Keras's order and orientation; ValueError where their number or a shape differs."""
        self.assign([np.asarray(weight) for weight in self.check_weights(weights)])

    def check_weights(self, weights: Sequence[ArrayLike]) -> list:
        """The weights as arrays; ValueError or TypeError unless they are this layer's in number, shape and kind."""
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
        """Copy in weights that have been checked."""

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return self.parameters.count

    # --- configuration -----------------------------------------------------------------------------------------------

    def label(self) -> str:
        """``'lstm' (LSTM)``, for messages."""
        kind = type(self).__name__
        return f"{self.name!r} ({kind})" if self.name else kind

    def get_config(self) -> dict:
        """The constructor's arguments that were given, as JSON can hold them, and the name."""
        config = {key: value for key, value in self._config.items() if key != "weights" and not _is_table(value)}
        as_json = {key: encoded(key, value, self) for key, value in config.items()}
        return {**as_json, "name": self.name}

    def settings(self) -> str:
        shown = {key: value for key, value in self._config.items() if not isinstance(value, (np.ndarray, Layer))}
        return ", ".join(f"{key}={value!r}" for key, value in shown.items())


def shape_of(shape) -> tuple:
    """A shape that a user gave, as a tuple of int and None."""
    parts = (shape,) if isinstance(shape, (int, np.integer)) else shape
    if not isinstance(parts, (tuple, list)):
        raise TypeError(f"{NO_BATCH}; got {shape!r}")
    for part in parts:
        if part is not None and (isinstance(part, bool) or not isinstance(part, (int, np.integer)) or part < 1):
            raise ValueError(f"{NO_BATCH}; got {shape!r}")
    return tuple(None if part is None else int(part) for part in parts)


def _is_table(value) -> bool:
    """Whether an argument is a table that a weight starts from: the weight is saved, and need not be twice."""
    return isinstance(value, Constant) and isinstance(value.value, np.ndarray)


def encoded(key: str, value, layer):
    """An argument as JSON can hold it."""
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
