"""What users hand to a recurrent layer, checked, and in time order: inputs, a state, and gradients by the outputs.

A state is an array h, or for LSTM a tuple (h, c); the gradients by the outputs are dy, or a tuple (dy, dh_n) or (dy, dh_n, dc_n).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers.sequences import time_first
from minilm.ops import checks
from minilm.ops.workspace import empty
from minilm.typing import Array

__all__ = ["cotangents", "inputs", "states"]


def inputs(x: Any, input_size: int, dtype: np.dtype, batch_first: bool) -> Array:
    """x (T, B, input_size), of an array in that order or with `batch_first` (B, T, input_size)."""
    x = checks.floats("x", x, dtype)
    checks.check_shape("x", x, (None, None, input_size), "(B, T, D)" if batch_first else "(T, B, D)")
    return time_first(x, batch_first)


def states(state: Any, names: tuple[str, ...], shape: tuple[int, int, int], dtype: np.dtype, like: Array) -> list[Array]:
    """The arrays of a state, each (num_layers * directions, B, H); zeros for None.

    Parameters
    ----------
    state : ndarray, tuple of ndarray, or None
    names : tuple of str
        ``("h_n",)``, or for LSTM ``("h_n", "c_n")``.
    shape : tuple of int
        (num_layers * directions, B, H).
    dtype : {float32, float64}
    like : ndarray
        On the device where zeros are wanted.
    """
    if state is None:
        zeros = empty(shape, dtype, like=like)
        zeros.fill(0)
        return [zeros] * len(names)
    parts = [state] if checks.is_array(state) else state
    expected = "an array h" if len(names) == 1 else "a tuple (h, c)"
    if not isinstance(parts, (tuple, list)) or not all(map(checks.is_array, parts)):
        raise TypeError(f"state must be {expected}, got {checks.describe(state)}")
    if len(parts) != len(names):
        raise ValueError(f"state must be {expected}, got {len(parts)} arrays")
    letters = "(num_layers * directions, B, H)"
    return [checks.floating(f"state {name[0]}", part, shape, dtype, letters) for name, part in zip(names, parts, strict=True)]


def cotangents(
    dy: Any,
    names: tuple[str, ...],
    y_shape: tuple[int, int, int],
    state_shape: tuple[int, int, int],
    dtype: np.dtype,
    batch_first: bool,
) -> tuple[Array | None, list[Array | None]]:
    """The gradient by y in time order, (T, B, directions * H), and that by each last state; None where it is zero.

    Parameters
    ----------
    dy : ndarray, tuple of ndarray and None, or None
    names : tuple of str
        As in `states`.
    y_shape, state_shape : tuple of int
        (T, B, directions * H), and (num_layers * directions, B, H).
    dtype : {float32, float64}
    batch_first : bool
        Whether dy comes as (B, T, directions * H).
    """
    dy, *dfinals = dy if isinstance(dy, tuple) else (dy,)
    dfinals += [None] * (len(names) - len(dfinals))
    if dy is not None:
        T, B, width = y_shape
        dy = checks.floats("dy", dy, dtype)
        shape, letters = ((B, T, width), "(B, T, H)") if batch_first else (y_shape, "(T, B, H)")
        checks.check_shape("dy", dy, shape, letters)
        dy = time_first(dy, batch_first)  # (T, B, directions * H)
    for name, part in zip(names, dfinals, strict=True):
        if part is not None:
            checks.floating(f"d{name}", part, state_shape, dtype)
    return dy, dfinals
