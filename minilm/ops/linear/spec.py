"""Affine map of the last axis: what it is, its gradient, and what it saves.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
x         (N, I)      inputs; leading axes are folded into N rows
W         (O, I)      weights (PyTorch's orientation)
b         (O,)        bias, or None
y         (N, O)      outputs
========  ==========  =====================================================

Forward::

    y[n, o] = sum_i x[n, i] W[o, i] + b[o]            y = x Wᵀ + b

Backward. The loss L depends on x[n, i] through row n of y, on W[o, i] through column o of y, on b[o] likewise. With
dy = ∂L/∂y::

    dx[n, i] = sum_o dy[n, o] ∂y[n, o]/∂x[n, i] = sum_o dy[n, o] W[o, i]      dx = dy W
    dW[o, i] = sum_n dy[n, o] ∂y[n, o]/∂W[o, i] = sum_n dy[n, o] x[n, i]      dW = dyᵀ x
    db[o]    = sum_n dy[n, o]                                                 db = dyᵀ 1

Saved: x for dW, W for dx, and whether there is a bias. y is not needed. Without x, of weights that do not learn, there is no dW.

Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, Learning representations by back-propagating errors, Nature 323
(1986), 533-536.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray | None  # (..., I)
    W: np.ndarray  # (O, I)
    bias: bool  # whether b was given
