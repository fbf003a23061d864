"""Sums of two arrays of one shape, on minilm's threads: residual connections, and gradients that add up."""

from __future__ import annotations

import numpy as np

from minilm import devices

__all__ = ["add_to_rows", "added"]

GRAIN = 1 << 15  # numbers that are worth a thread


def added(x: np.ndarray, y: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """out = x + y, all of one shape and C-contiguous; `out` may be one of the two. Returns `out`."""
    if out.size < 2 * GRAIN or devices.on_gpu(out):
        return np.add(x, y, out=out)  # CuPy answers it for its own arrays
    sums = devices.load("minilm.ops", "sums")
    if out is x or out is y:
        arrays = (out, y if out is x else x)
        devices.parallel(sums.add_to, out.size, *(array.reshape(-1) for array in arrays), grain=GRAIN)
    else:
        devices.parallel(sums.add, out.size, *(array.reshape(-1) for array in (x, y, out)), grain=GRAIN)
    return out


def add_to_rows(out: np.ndarray, rows: np.ndarray, x: np.ndarray) -> None:
    """out[rows] += x for rows (N,) that are all different, out (V, D), x (N, D)."""
    if x.size < 2 * GRAIN or devices.on_gpu(out):
        out[rows] += x
    else:
        sums = devices.load("minilm.ops", "sums")
        devices.parallel(sums.add_to_rows, len(rows), out, rows, x, grain=-(-GRAIN // x.shape[1]))
