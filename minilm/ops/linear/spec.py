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

Saved: x for dW, W for dx, and whether there is a bias. y is not needed.

Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, Learning representations by back-propagating errors, Nature 323
(1986), 533-536.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.ops.contract import Case, Op


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray  # (..., I)
    W: np.ndarray  # (O, I)
    bias: bool  # whether b was given


def draw(rng, dtype, dims, *, bias=True, lead=1) -> Case:
    """Random arguments; ``lead`` is the number of leading axes."""
    N, I, O = dims["N"], dims["I"], dims["O"]
    rows = {0: (), 1: (N,), 2: (2, N)}[lead]
    arguments = {"x": rng.standard_normal((*rows, I)), "W": rng.standard_normal((O, I)), "b": rng.standard_normal(O)}
    if not bias:
        del arguments["b"]
    return Case({name: array.astype(dtype) for name, array in arguments.items()}, tuple(arguments))


OP = Op(
    name="linear",
    package="minilm.ops.linear",
    dims={"N": (3, 1, 7, 64, 131), "I": (4, 1, 5, 33, 256), "O": (2, 1, 3, 65, 127)},
    draw=draw,
    options={"bias": (True, False), "lead": (1, 0, 2)},
    flops=lambda d: 3 * 2 * d["N"] * d["I"] * d["O"],
    bytes=lambda d, size: size * (3 * d["N"] * (d["I"] + d["O"]) + 3 * d["I"] * d["O"]),
)
OPS = (OP,)
