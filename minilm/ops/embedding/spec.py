"""Embedding: rows of a table by their ids, its gradient, and what it saves.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
ids       (N,)        which row; leading axes are folded into N
W         (V, D)      the table, a row for each of V ids
y         (N, D)      the rows
========  ==========  =====================================================

Forward::

    y[n, d] = W[ids[n], d]

It is the product of a one-hot matrix, O[n, v] = 1 where v = ids[n], with W; no product is needed to compute it.

Backward. W[v, d] is read by every n with ids[n] = v, so its gradient is the sum over those places::

    dW[v, d] = sum_n dy[n, d] ∂y[n, d]/∂W[v, d] = sum over {n : ids[n] = v} of dy[n, d]          dW = Oᵀ dy

An id that occurs k times gets k terms: an assignment dW[ids] = dy would keep only the last. Terms are added in the order
of n, whatever the number of threads. The row `padding_idx` is a constant by declaration: its gradient is zero.

Saved: ids, the padding index, and shape and dtype of W. No number of W is needed.

Source: Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, A neural probabilistic language model, JMLR 3 (2003), 1137-1155.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    ids: np.ndarray  # (...)
    shape: tuple[int, int]  # (V, D)
    dtype: np.dtype  # of W
    padding_idx: int | None  # in [0, V)
