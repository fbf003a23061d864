"""One parameter, its gradient, and the buffer that both may lie in with others (see `minilm.layers.parameters`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import numpy as np

from minilm import devices
from minilm.layers import changes
from minilm.layers.residual import add_to_rows, added
from minilm.ops import checks
from minilm.ops.checks import describe
from minilm.typing import DType

__all__ = ["Buffer", "Parameter"]

STEP = 16  # elements: 64 bytes of float32, 128 of float64, so that both dtypes have the same layout


def padded(size: int) -> int:
    return -(-size // STEP) * STEP


class Buffer:
    """Two flat arrays, and the parameters in use that lie in them."""

    def __init__(self, size: int, dtype, members: Iterable[Parameter] = (), like=None):
        self.values = devices.aligned_zeros(size, dtype, like)
        self.gradients = devices.aligned_zeros(size, dtype, like)
        self.members = weakref.WeakSet(members)


class Parameter:
    """One array that is learned, and its gradient.

    Two layers that hold the same Parameter object share it (tied weights): it is stored once, and the gradients of both
    uses add up.

    Parameters
    ----------
    value : ndarray of float32 or float64
        The numbers to start from; copied.
    """

    watch: Callable[[Parameter], None] | None = None  # called when something was added to the gradient
    trainable = True  # see `Layer.freeze`

    def __init__(self, value: np.ndarray):
        if not isinstance(value, np.ndarray) or value.dtype not in (np.float32, np.float64):
            raise TypeError(f"value must be an array of float32 or float64, got {describe(value)}")
        self.buffer: Buffer | None = None
        self.offset = 0
        self._value = np.array(value, order="C")
        self.span = padded(value.size)  # numbers of the buffer that it takes, the gap after it included
        self._gradient: np.ndarray | None = None

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: DType) -> Parameter:
        """A parameter of zeros, whose memory the system hands out only where something is written."""
        parameter = cls(np.zeros(0, dtype))
        parameter._value = np.zeros(shape, dtype)
        parameter.span = padded(parameter.size)
        return parameter

    @property
    def value(self) -> np.ndarray:
        """The numbers: a view into the flat buffer. Assignment copies into it."""
        return self._value

    @value.setter
    def value(self, array) -> None:
        array = checks.as_array(array)
        if array.shape != self.shape:
            raise ValueError(f"value must have shape {self.shape}, got {describe(array)}")
        devices.copy_into(self._value, array)

    @property
    def gradient(self) -> np.ndarray:
        """The sum of the gradients since it was last cleared, in the value's shape."""
        if self._gradient is None:
            self._gradient = devices.array_module(self._value).zeros(self.shape, self.dtype)
        return self._gradient

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self._value.shape

    @property
    def size(self) -> int:
        """How many numbers the value has."""
        return self._value.size

    @property
    def dtype(self) -> np.dtype:
        """The value's dtype, float32 or float64."""
        return self._value.dtype

    def accumulate(self, gradient: np.ndarray, rows: slice | np.ndarray = slice(None)) -> None:
        """Add `gradient`, that of some `rows` or of all: the one place where gradients are accumulated. Frozen ones stay zero.

        The rows are a slice, or the numbers (N,) of different ones.
        """
        if self.trainable and not isinstance(rows, slice):
            add_to_rows(self.gradient, rows, gradient)
        elif self.trainable:
            total = self.gradient[rows]
            added(total, gradient, out=total)
        if self.watch is not None:
            self.watch(self)

    def move_to(self, buffer: Buffer, offset: int) -> None:
        """Lie at an offset of a buffer from now on."""
        value = buffer.values[offset : offset + self.size].reshape(self.shape)
        gradient = buffer.gradients[offset : offset + self.size].reshape(self.shape)
        value[...] = self._value
        if self._gradient is not None:
            gradient[...] = self._gradient
        if self.buffer is not None:
            self.buffer.members.discard(self)
        self.buffer, self.offset, self._value, self._gradient = buffer, offset, value, gradient
        changes.count()

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self._value)

    def replace(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Leave the buffer, with ``change(array)`` in place of each array."""
        if self.buffer is not None:
            self.buffer.members.discard(self)
        self._value = change(self._value)
        self._gradient = None if self._gradient is None else change(self._gradient)
        self.buffer, self.offset = None, 0
        changes.count()

    def __getstate__(self):  # copies and pickles stand alone: they have left the buffer
        return {"value": devices.to_host(self._value), "gradient": devices.to_host(self._gradient)}

    def __setstate__(self, state):
        self.buffer, self.offset = None, 0
        self._value = np.array(state["value"], order="C")
        self.span = padded(self.size)
        self._gradient = None if state["gradient"] is None else np.array(state["gradient"], order="C")
        changes.count()

    def __repr__(self):
        return f"Parameter{self.shape} {self.dtype}"
