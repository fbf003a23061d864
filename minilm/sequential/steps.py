"""Sequential's layers over time steps: what changes or collapses the axis of time, and what is applied to every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices
from minilm.ops import checks, padding
from minilm.random import Key
from minilm.sequential.base import LayerOptions, SequentialLayer, units
from minilm.typing import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Masking",
    "RepeatVector",
    "TimeDistributed",
]


class Masking(SequentialLayer):
    """Mask the steps of x (B, T, D) whose D features all equal `mask_value`, and set them to zero.

    Parameters
    ----------
    mask_value : float
    """

    accepts, letters = (3,), "(batch, time, features)"

    def __init__(self, mask_value: float = 0.0, **options: Unpack[LayerOptions]):
        super().__init__(**options)
        self.mask_value = checks.number("mask_value", mask_value, -math.inf, math.inf)

    def compute_mask(self, x: Array, mask: Array | None = None) -> Array | None:
        return (x != self.mask_value).any(axis=-1)  # (B, T)

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        kept = self.compute_mask(x)[..., None]  # (B, T, 1)
        return np.where(kept, x, x.dtype.type(0)), kept

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy * saved


class Flatten(SequentialLayer):
    """(B, ...) as (B, the product of the other sizes), in row-major order."""

    passes_mask = False

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (shape[0], None if None in shape[1:] else math.prod(shape[1:]))

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        return checks.kernel_ready(x).reshape(len(x), -1), x.shape

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy.reshape(saved)


class RepeatVector(SequentialLayer):
    """x (B, D) as (B, n, D): the same vector at n time steps, for a decoder to read.

    Parameters
    ----------
    n : int
        At least 1.
    """

    accepts, letters = (2,), "(batch, features)"
    passes_mask = False

    def __init__(self, n: int, **options: Unpack[LayerOptions]):
        super().__init__(**options)
        self.n = units("n", n)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (shape[0], self.n, shape[1])

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        return np.repeat(x[:, None], self.n, axis=1), None  # (B, n, D)

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy.sum(axis=1)  # (B, D)


class GlobalAveragePooling1D(SequentialLayer):
    """The mean over time of the steps that count, (B, T, D) to (B, D); zeros for a row where none does."""

    accepts, letters = (3,), "(batch, time, features)"
    passes_mask = False

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (shape[0], shape[2])

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        B, T = x.shape[:2]
        if mask is None:
            weights = devices.array_module(x).full((B, T), 1 / T, x.dtype)
        else:
            x = padding.zeroed(x, mask)
            weights = mask / np.maximum(1, mask.sum(axis=1, keepdims=True))
        weights = weights.astype(x.dtype)[..., None]  # (B, T, 1)
        return (x * weights).sum(axis=1), weights  # (B, D)

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy[:, None] * saved  # (B, T, D)


class GlobalMaxPooling1D(SequentialLayer):
    """The largest number of each feature over time, (B, T, D) to (B, D). As in Keras, masked steps take part."""

    accepts, letters = (3,), "(batch, time, features)"
    passes_mask = False

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (shape[0], shape[2])

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        where = x.argmax(axis=1)[:, None]  # (B, 1, D)
        return np.take_along_axis(x, where, axis=1)[:, 0], (where, x.shape)  # (B, D)

    def backward(self, dy: Array, saved: Any) -> Array:
        where, shape = saved
        steps = devices.array_module(dy).arange(shape[1])[:, None]  # (T, 1)
        return np.where(steps == where, dy[:, None], dy.dtype.type(0))  # (B, T, D)


class TimeDistributed(SequentialLayer):
    """A layer applied to every time step by itself: it reads (B T, ...) of inputs (B, T, ...).

    Parameters
    ----------
    layer : SequentialLayer
        Such as `Dense`. Its weights are the same at all steps.

    Raises
    ------
    TypeError
        If it is no layer of `minilm.sequential`.
    """

    letters = "(batch, time, ...)"
    reads_width = False  # the inner layer's own affair

    def __init__(self, layer: SequentialLayer, **options: Unpack[LayerOptions]):
        super().__init__(**options)
        if not isinstance(layer, SequentialLayer):
            raise TypeError(f"layer must be a layer of minilm.sequential, got {checks.describe(layer)}")
        self.layer = layer

    @property
    def activation(self) -> str | None:
        """The inner layer's activation; None where it has none."""
        return getattr(self.layer, "activation", None)

    def check_rank(self, shape: tuple) -> None:
        if len(shape) < 3:
            raise ValueError(f"layer {self.label()} wants inputs of shape {self.letters}, got {shape}")

    def make(self, shape: tuple) -> None:
        self.layer.name = self.layer.name or "layer"
        self.layer.build((shape[0], *shape[2:]), self._generator, self._dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return (*shape[:2], *self.layer.compute_output_shape((shape[0], *shape[2:]))[1:])

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None, **options: Any) -> tuple[Array, Any]:
        B, T = x.shape[:2]
        rows = checks.kernel_ready(x).reshape(B * T, *x.shape[2:])  # (B T, ...)
        y, saved = self.layer.forward(rows, None, key=key, **options)
        return y.reshape(B, T, *y.shape[1:]), (saved, x.shape)

    def backward(self, dy: Array, saved: Any) -> Array | None:
        inner, shape = saved
        rows = checks.kernel_ready(dy).reshape(shape[0] * shape[1], *dy.shape[2:])  # (B T, ...)
        dx = self.layer.backward(rows, inner)
        return None if dx is None else dx.reshape(shape)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layer.weight_shapes()

    def get_weights(self) -> list[np.ndarray]:
        return self.layer.get_weights()

    def assign(self, weights: list[np.ndarray]) -> None:
        self.layer.assign(weights)
