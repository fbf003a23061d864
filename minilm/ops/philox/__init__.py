"""Random numbers as a function of a key: Philox 4x32-10. Definition: `minilm.ops.philox.spec`."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.ops.philox.spec import MOST
from minilm.ops.workspace import empty
from minilm.random import Key
from minilm.typing import Array, DType

__all__ = ["bits", "uniform"]


def bits(key: Key, shape: int | tuple[int, ...]) -> Array:
    """32 random bits for every element.

    .. math:: bits_i = \\mathrm{philox}_{seed, place}(i \\,\\mathrm{div}\\, 4, place, step)_{i \\bmod 4}

    Parameters
    ----------
    key : minilm.random.Key
        Which numbers: equal keys give equal numbers, on every device.
    shape : int or tuple of int
        Of the output; at most 2**34 elements.

    Returns
    -------
    bits : ndarray of uint32, of the given shape
        Element i in C order does not depend on the shape.

    Raises
    ------
    TypeError, ValueError
        If `key` is no Key or out of range, or `shape` is no shape.
    """
    key, shape = checks.random_key(key), _shape(shape, MOST)
    name = devices.implementation_for()  # no argument is an array that could say which device is meant
    return devices.load(__name__, name).bits(key, shape)


def uniform(key: Key, shape: int | tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Numbers evenly distributed in [0, 1).

    Parameters
    ----------
    key : minilm.random.Key
        Which numbers.
    shape : int or tuple of int
        Of the output.
    dtype : {float32, float64}
        24 or 53 random bits a number. The two precisions do not share their numbers.

    Returns
    -------
    u : ndarray of the given shape and dtype

    Raises
    ------
    TypeError, ValueError
        If `key` is no Key or out of range, `shape` is no shape, or `dtype` is another.
    """
    dtype = np.dtype(dtype)
    if dtype not in checks.FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {dtype}")
    words = dtype.itemsize // 4  # a number
    shape = _shape(shape, MOST // words)
    if devices.implementation_for() == "gpu":
        return devices.load(__name__, "gpu").uniform(checks.random_key(key), shape, dtype)
    u = empty(shape, dtype)
    drawn = bits(key, (u.size, words))  # (N, words)
    if words == 1:
        np.multiply(drawn[:, 0] >> 8, np.float32(2**-24), out=u.reshape(-1), casting="unsafe")
    else:
        high, low = drawn[:, 0] >> 5, drawn[:, 1] >> 6
        np.multiply(high * 2.0**26 + low, 2.0**-53, out=u.reshape(-1))
    return u


def _shape(shape, most: int) -> tuple[int, ...]:
    """`shape` as a tuple of at most so many elements."""
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a whole number or a tuple of them, got {checks.describe(shape)}")
    shape = tuple(checks.whole("shape", size, 0, most + 1) for size in shape)
    if math.prod(shape) > most:
        raise ValueError(f"shape must have at most {most} elements, got {shape}")
    return shape


def __dir__() -> list[str]:
    return sorted(__all__)
