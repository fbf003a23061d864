"""GRU on the GPU.

Version 1 is a product by cuBLAS and an elementwise kernel for every step; version 2 is one kernel whose blocks hold all recurrent
weights; version 3 is one kernel whose blocks hold a slice of them each (sliced.cu; `minilm.ops.cuda.slices` says what fits). By
default version 2 runs where it fits, for its blocks need not wait for one another, else version 3, else version 1, which also
replaces a version that was requested but does not fit.

The weights' gradients and dx are products over all steps at once, after the loop.
"""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, blocks, slices, whole_warps
from minilm.ops.cuda.columns import column_sums
from minilm.ops.cuda.products import matmul
from minilm.ops.gru import sliced
from minilm.ops.gru.spec import CellSaved, Output, Saved
from minilm.ops.recurrence import order, states_after, states_before

ROWS = 4  # as in gpu.cu
ROOM = 96 * 1024  # bytes of shared memory that every device of the last ten years has, or nearly


def _persistent(name):
    return Kernel(
        name,
        grid=lambda s: -(-s.B // ROWS),
        block=lambda s: whole_warps(3 * s.H),
        shared=lambda s: (3 * s.H * s.H + 4 * s.H * ROWS) * s.itemsize,
    )


KERNELS = Kernels(
    __file__,
    Kernel("gru_step_forward", grid=lambda s: blocks(s.B * s.H, 256)),
    Kernel("gru_step_backward", grid=lambda s: blocks(s.B * s.H, 256)),
    _persistent("gru_persistent_forward"),
    _persistent("gru_persistent_backward"),
)
VERSIONS = {"forward": 3, "backward": 3}


def fits(H: int, itemsize: int) -> bool:
    """Whether a block's shared memory holds the recurrent weights, as version 2 needs it."""
    return (3 * H * H + 4 * H * ROWS) * itemsize <= ROOM


def way(version: int | None, H: int, B: int, itemsize: int) -> tuple[int, slices.Plan | None]:
    """The version to take for the one that is asked for, and if it is the third, how the weights are sliced."""
    if version in (None, 2) and fits(H, itemsize):
        return 2, None
    plan = slices.plan(H, B, 3, itemsize) if version in (None, 3) else None
    return (3, plan) if plan else (1, None)


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, version=None):
    T, B, _ = x.shape
    H = W_hh.shape[1]
    first, last, before, after, steps = order(T, reverse)
    a_x = matmul(fold(x), W_ih.T).reshape(T, B, 3 * H)
    h, gates, inner = (cupy.empty(shape, x.dtype) for shape in ((T + 1, B, H), (T, B, 3 * H), (T, B, H)))
    y = None if lengths is None else cupy.empty((T, B, H), x.dtype)
    h[first] = h0
    version, plan = way(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        arrays = a_x, W_hh, b_ih, b_hh, lengths, gates, inner, h, y, arrived
        sliced.KERNELS.launch("gru_sliced_forward", *arrays, T, B, H, plan.parts, plan.units, plan.rows, reverse)
    elif version == 2:
        KERNELS.launch("gru_persistent_forward", a_x, W_hh, b_ih, b_hh, lengths, gates, inner, h, y, T, B, H, reverse)
    else:
        for t in steps:
            a_h = matmul(h[t + before], W_hh.T)  # (B, 3H)
            states = h[t + before], lengths, gates[t], inner[t], h[t + after], None if y is None else y[t]
            KERNELS.launch("gru_step_forward", a_x[t], a_h, b_ih, b_hh, *states, B, H, t)
    y = states_after(h, reverse) if y is None else y  # (T, B, H)
    return Output(y, h[last].copy()), Saved(x, h, gates, inner, W_ih, W_hh, lengths, reverse)


def backward(dy, saved, *, version=None):
    x, h, gates, inner, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n = dy
    T, B, _ = x.shape
    H = W_hh.shape[1]
    _, _, before, _, steps = order(T, reverse)
    dh = cupy.zeros((B, H), x.dtype) if dh_n is None else dh_n.copy()  # (B, H)
    da, dg = (cupy.empty((T, B, 3 * H), x.dtype) for _ in range(2))
    version, plan = way(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        arrays = dy, h, gates, inner, W_hh, lengths, dh, da, dg, arrived
        sliced.KERNELS.launch("gru_sliced_backward", *arrays, T, B, H, plan.parts, plan.units, plan.rows, reverse)
    elif version == 2:
        KERNELS.launch("gru_persistent_backward", dy, h, gates, inner, W_hh, lengths, dh, da, dg, T, B, H, reverse)
    else:
        for t in reversed(steps):
            dy_t = None if dy is None else dy[t]
            KERNELS.launch("gru_step_backward", dy_t, h[t + before], gates[t], inner[t], lengths, dh, da[t], dg[t], B, H, t)
            dh += matmul(dg[t], W_hh)  # (B, H)
    rows_a, rows_g = fold(da), fold(dg)  # (T B, 3H) each
    dx = matmul(rows_a, W_ih).reshape(x.shape)
    dW_hh = matmul(rows_g.T, fold(states_before(h, reverse)))  # (3H, H)
    return dx, dh, matmul(rows_a.T, fold(x)), dW_hh, column_sums(rows_a), column_sums(rows_g)


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh):
    (h, _), saved = forward(x[None], h0, W_ih, W_hh, b_ih, b_hh, version=1)
    return h[0], CellSaved(x, h0, saved.gates[0], saved.inner[0], W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, gates, inner, W_ih, W_hh = saved
    states = cupy.stack([h0, h0])  # (2, B, H); the one after the step is not needed
    dx, *others = backward((None, dy), Saved(x[None], states, gates[None], inner[None], W_ih, W_hh, None, False), version=1)
    return dx[0], *others
