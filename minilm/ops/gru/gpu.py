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

ROWS = 4  # of the batch, to a block of version 2
ROOM = 96 * 1024  # bytes of shared memory that every device of the last ten years has, or nearly


def shared_bytes(H: int, itemsize: int) -> int:
    """Shared memory of a block of version 2: the recurrent weights, and of each row the state and the gates."""
    return (3 * H * H + 4 * H * ROWS) * itemsize


def _persistent(name):
    return Kernel(
        name,
        grid=lambda s: -(-s.B // ROWS),
        block=lambda s: whole_warps(3 * s.H),
        shared=lambda s: shared_bytes(s.H, s.itemsize),
    )


KERNELS = Kernels(
    __file__,
    Kernel("gru_step_forward", grid=lambda s: blocks(s.B * s.H)),
    Kernel("gru_step_backward", grid=lambda s: blocks(s.B * s.H)),
    _persistent("gru_persistent_forward"),
    _persistent("gru_persistent_backward"),
    defines={"ROWS": ROWS},
)
VERSIONS = {"forward": 3, "backward": 3}


def choose_version(version: int | None, H: int, B: int, itemsize: int) -> tuple[int, slices.Plan | None]:
    """The version that runs where `version` (None: the default) is wanted, and for the third how the weights are sliced."""
    if version in (None, 2) and shared_bytes(H, itemsize) <= ROOM:
        return 2, None
    plan = slices.plan(H, B, 3, itemsize) if version in (None, 3) else None
    return (3, plan) if plan else (1, None)


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, version=None):
    T, B, _ = x.shape
    H = W_hh.shape[1]
    first, last, before, _, steps = order(T, reverse)
    a_x = matmul(fold(x), W_ih.T).reshape(T, B, 3 * H)
    h, gates, inner = (cupy.empty(shape, x.dtype) for shape in ((T + 1, B, H), (T, B, 3 * H), (T, B, H)))
    y = None if lengths is None else cupy.empty((T, B, H), x.dtype)
    h[first] = h0
    sizes = {"T": T, "B": B, "H": H, "reverse": reverse}
    args = KERNELS.pack(
        "GruForward", a_x=a_x, W_hh=W_hh, b_ih=b_ih, b_hh=b_hh, lengths=lengths, gates=gates, inner=inner, h=h, y=y, **sizes
    )
    version, plan = choose_version(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        sliced.KERNELS.launch("gru_sliced_forward", args, arrived, plan.parts, plan.units, plan.rows)
    elif version == 2:
        KERNELS.launch("gru_persistent_forward", args)
    else:
        for t in steps:
            a_h = matmul(h[t + before], W_hh.T)  # (B, 3H)
            KERNELS.launch("gru_step_forward", args, a_h, t)
    y = states_after(h, reverse) if y is None else y  # (T, B, H)
    return Output(y, h[last].copy()), Saved(x, h, gates, inner, W_ih, W_hh, lengths, reverse)


def backward(dy, saved, *, version=None):
    x, h, gates, inner, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n = dy
    T, B, _ = x.shape
    H = W_hh.shape[1]
    steps = order(T, reverse).steps
    dh = cupy.zeros((B, H), x.dtype) if dh_n is None else dh_n.copy()  # (B, H)
    da, dg = (cupy.empty((T, B, 3 * H), x.dtype) for _ in range(2))
    sizes = {"T": T, "B": B, "H": H, "reverse": reverse}
    args = KERNELS.pack(
        "GruBackward", dy=dy, h=h, gates=gates, inner=inner, W_hh=W_hh, lengths=lengths, dh=dh, da=da, dg=dg, **sizes
    )
    version, plan = choose_version(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        sliced.KERNELS.launch("gru_sliced_backward", args, arrived, plan.parts, plan.units, plan.rows)
    elif version == 2:
        KERNELS.launch("gru_persistent_backward", args)
    else:
        for t in reversed(steps):
            KERNELS.launch("gru_step_backward", args, t)
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
