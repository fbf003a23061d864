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

An id that stands k times gets k terms: an assignment dW[ids] = dy would keep only the last. Terms are added in the order
of n, whatever the number of threads. The row `padding_idx` is a constant by declaration: its gradient is zero.

Saved: ids, the padding index, and shape and dtype of W. No number of W is needed.

Source: Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, A neural probabilistic language model, JMLR 3 (2003), 1137-1155.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.ops.contract import Case, Op


class Saved(NamedTuple):
    """What backward needs."""

    ids: np.ndarray  # (...)
    shape: tuple[int, int]  # (V, D)
    dtype: np.dtype  # of W
    padding_idx: int | None  # in [0, V)


def draw(rng, dtype, dims, *, lead=1) -> Case:
    """Random arguments; ids repeat, the first and the last row are among them where there is room. No padding index: its
    gradient is zero by declaration, not by differentiation."""
    N, V, D = dims["N"], dims["V"], dims["D"]
    shape = {1: (N,), 2: (2, N), 3: (2, 1, N)}[lead]
    ids = rng.integers(0, V, shape)
    flat = ids.reshape(-1)
    for n, v in zip(range(flat.size), (0, V - 1, 0), strict=False):
        flat[n] = v
    return Case({"ids": ids, "W": rng.standard_normal((V, D)).astype(dtype)}, ("W",))


OP = Op(
    name="embedding",
    package="minilm.ops.embedding",
    dims={"N": (5, 1, 7, 64, 300), "V": (4, 1, 11, 127), "D": (3, 1, 5, 64, 130)},
    draw=draw,
    options={"lead": (1, 2, 3)},
    flops=lambda d: d["N"] * d["D"],
    bytes=lambda d, size: size * (4 * d["N"] * d["D"] + d["V"] * d["D"]) + 2 * 8 * d["N"],
)
OPS = (OP,)
