"""Padding: the mask of rows of several lengths, and arrays whose padding must not matter, whatever numbers it holds.

A gradient or a weight of 0 leaves out a row of numbers, but 0 times infinity or NaN is NaN. The ops that read rows one by one
leave out those that do not count; before a matrix product they are made zeros here.
"""

from __future__ import annotations

import numpy as np

from minilm import devices


def mask_from_lengths(lengths, T: int):
    """True at the steps within each row's length, False at padding: (B, T) of bool; None where `lengths` is None."""
    return None if lengths is None else devices.array_module(lengths).arange(T) < lengths[:, None]


def zeroed(x, counts):
    """`x` with zeros in its rows that do not count.

    Parameters
    ----------
    x : ndarray, shape (..., D)
    counts : ndarray of bool, shape (...), or None
        Which rows count; None where all do.

    Returns
    -------
    ndarray, shape (..., D)
        On the CPU `x` itself where those rows are finite, which takes a look at them alone. A GPU would have to be waited for to
        know: there it is a new array.
    """
    if counts is None or (not devices.on_gpu(x) and np.isfinite(x[~counts]).all()):
        return x
    return devices.array_module(x).where(counts[..., None], x, x.dtype.type(0))
