"""Numbers with the upper half of a float32's bits, for the way from rank to rank."""

from __future__ import annotations

import numpy as np

__all__ = ["narrowed", "widened"]


def narrowed(array: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 as uint16: to the nearest, ties to even. NaN stays NaN, and what is too large becomes infinite."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 -> float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
