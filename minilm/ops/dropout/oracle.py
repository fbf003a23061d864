"""Dropout in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.dropout.spec import Saved, threshold_and_scale
from minilm.ops.philox import oracle as philox


def factors(saved):
    """k, which broadcasts with x."""
    shape = tuple(1 if axis == saved.shared_axis else size for axis, size in enumerate(saved.shape))
    threshold, scale = threshold_and_scale(saved.p)
    r = philox.bits(saved.key, shape)  # (...) with 1 at the shared axis
    return np.where(r >= threshold, scale, 0).astype(saved.dtype)  # likewise


def forward(x, p, key, *, shared_axis=None):
    saved = Saved(p, key, x.shape, x.dtype, shared_axis)
    return np.asarray(x * factors(saved)), saved  # (...)


def backward(dy, saved):
    return np.asarray(dy * factors(saved))  # (...)
