"""Softmax and log-softmax over the last axis: what they are, their gradients, and what they save.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
x         (N, V)      logits; leading axes are folded into N rows
y         (N, V)      probabilities, or their logarithms
========  ==========  =====================================================

Forward, for every row::

    softmax        y[v] = exp(x[v] - m) / s        m = max_v x[v],   s = sum_v exp(x[v] - m)
    log_softmax    y[v] = x[v] - m - log s

Subtracting m changes nothing in exact arithmetic and keeps exp from overflowing; the sum is at least 1.

Backward of softmax. Every y depends on every x of its row. From log y[v] = x[v] - log sum exp(x) follows
∂y[v]/∂x[u] = y[v] ([u = v] - y[u]), so::

    dx[u] = sum_v dy[v] y[v] ([u = v] - y[u]) = y[u] (dy[u] - sum_v dy[v] y[v])

Backward of log_softmax. With p = exp(y), ∂y[v]/∂x[u] = [u = v] - p[u]::

    dx[u] = sum_v dy[v] ([u = v] - p[u]) = dy[u] - exp(y[u]) sum_v dy[v]

A cotangent of ones gives zero for softmax: it proves nothing about an implementation.

A logit of -inf has probability 0. A row that is -inf throughout has no softmax and gives NaN, as in PyTorch and as the
formula says; attention, which can have such rows, masks them itself.

Saved: y. x is not needed.

Source: J. S. Bridle, Training stochastic model recognition algorithms as networks can lead to maximum mutual information
estimation of parameters, NIPS 1989.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    y: np.ndarray  # (..., V)
