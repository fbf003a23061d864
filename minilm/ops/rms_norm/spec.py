"""Root mean square normalisation over the last axis: what it is, its gradient, and what it saves.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
x         (N, D)      inputs; leading axes are folded into N rows
gamma     (D,)        scale, or None: 1
rrms      (N,)        reciprocal of each row's root mean square
y         (N, D)      outputs
========  ==========  =====================================================

Forward, for every row::

    ms   = sum_d x[d]² / D
    rrms = 1 / sqrt(ms + eps)
    u[d] = x[d] rrms
    y[d] = gamma[d] u[d]

It is layer normalisation without the mean and the shift: networks learn as well with the scale alone, and a pass over the row is
saved.

Backward. With g[d] = ∂L/∂u[d] = dy[d] gamma[d]. Since ∂ms/∂x[e] = 2 x[e] / D, ∂rrms/∂x[e] = -rrms³ x[e] / D = -rrms² u[e] / D.
Together::

    ∂u[d]/∂x[e] = rrms ([d = e] - u[d] u[e] / D)

    dx[e]     = sum_d g[d] ∂u[d]/∂x[e] = rrms (g[e] - u[e] mean(g u))
    dgamma[d] = sum_n dy[n, d] u[n, d]

Saved: x, gamma and rrms; u is computed again from them.

Source: B. Zhang, R. Sennrich, Root mean square layer normalization, NeurIPS 2019, arXiv:1910.07467.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray  # (..., D)
    gamma: np.ndarray | None  # (D,)
    rrms: np.ndarray  # (...)
