"""Numbers with the upper half of a float32's bits, for the way from rank to rank: arrays of the host, or of a GPU."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.typing import Array

__all__ = ["narrowed", "widened"]

NAN = 0x7FC0


def narrowed(array: Array) -> Array:
    """float32 -> bfloat16, rounded to the nearest, ties to even.

    Parameters
    ----------
    array : ndarray of float32
        Of any shape.

    Returns
    -------
    bits : ndarray of uint16, of the same shape
        NaN stays NaN, and what is too large becomes infinite.
    """
    module = devices.array_module(array)
    array = module.ascontiguousarray(array, np.float32)
    bits = array.view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
    return module.where(array == array, rounded, NAN).astype(np.uint16)


def widened(bits: Array) -> Array:
    """bfloat16 -> float32, exactly.

    Parameters
    ----------
    bits : ndarray of uint16
        Of `narrowed`.

    Returns
    -------
    array : ndarray of float32, of the same shape
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)
