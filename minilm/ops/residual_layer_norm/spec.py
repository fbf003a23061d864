"""Residual sum and layer normalisation in one pass: what they are, their gradient, and what they save.

==========  ==========  =========================================================
array       shape       meaning
==========  ==========  =========================================================
x           (N, D)      a branch's output; leading axes are folded into N rows
residual    (N, D)      what went around the branch
gamma       (D,)        scale, or None: 1
beta        (D,)        shift, or None: 0
total       (N, D)      their sum, which goes around the next branch
mean        (N,)        of each row of the sum
rstd        (N,)        reciprocal of each row's standard deviation
y           (N, D)      the sum normalised, which goes into the next branch
==========  ==========  =========================================================

Forward, for every row; `minilm.ops.layer_norm.spec` has the formulas of the normalisation::

    total[d] = x[d] + residual[d]
    y[d]     = gamma[d] u[d] + beta[d],      u[d] = (total[d] - mean) rstd

Backward. The sum is an output, and the argument of the normalisation: its gradient is the sum of both. x and residual have the
same gradient::

    g[d]      = dy[d] gamma[d]
    dx[d]     = dresidual[d] = dtotal[d] + rstd (g[d] - mean(g) - u[d] mean(g u))
    dgamma[d] = sum_n dy[n, d] u[n, d]
    dbeta[d]  = sum_n dy[n, d]

A row is summed, averaged and normalised while it is in the cache: compared with the two ops this saves a pass over memory each
way, and the addition runs on all threads.

Saved: the sum, gamma, mean and rstd, and whether there is a beta.

Source: J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, arXiv:1607.06450.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Output(NamedTuple):
    """What forward returns."""

    total: np.ndarray  # (..., D)
    y: np.ndarray  # (..., D)


class Saved(NamedTuple):
    """What backward needs."""

    total: np.ndarray  # (..., D)
    gamma: np.ndarray | None  # (D,)
    mean: np.ndarray  # (...)
    rstd: np.ndarray  # (...)
    shifted: bool  # whether beta was given
