"""LSTM on the GPU.

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
from minilm.ops.lstm import sliced
from minilm.ops.lstm.spec import CellOutput, CellSaved, Output, Saved
from minilm.ops.recurrence import order, states_after, states_before

ROWS = 4  # of the batch, to a block of version 2
ROOM = 96 * 1024  # bytes of shared memory that every device of the last ten years has, or nearly


def shared_bytes(H: int, itemsize: int) -> int:
    """Shared memory of a block of version 2: the recurrent weights, and of each row the state and the gates."""
    return (4 * H * H + 5 * H * ROWS) * itemsize


def _persistent(name):
    return Kernel(
        name,
        grid=lambda s: -(-s.B // ROWS),
        block=lambda s: whole_warps(4 * s.H),
        shared=lambda s: shared_bytes(s.H, s.itemsize),
    )


KERNELS = Kernels(
    __file__,
    Kernel("lstm_step_forward", grid=lambda s: blocks(s.B * s.H)),
    Kernel("lstm_step_backward", grid=lambda s: blocks(s.B * s.H)),
    _persistent("lstm_persistent_forward"),
    _persistent("lstm_persistent_backward"),
    defines={"ROWS": ROWS},
)
VERSIONS = {"forward": 3, "backward": 3}


def choose_version(version: int | None, H: int, B: int, itemsize: int) -> tuple[int, slices.Plan | None]:
    """The version that runs where `version` (None: the default) is wanted, and for the third how the weights are sliced."""
    if version in (None, 2) and shared_bytes(H, itemsize) <= ROOM:
        return 2, None
    plan = slices.plan(H, B, 4, itemsize) if version in (None, 3) else None
    return (3, plan) if plan else (1, None)


def forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, version=None):
    T, B, _ = x.shape
    H = W_hh.shape[1]
    first, last, before, _, steps = order(T, reverse)
    a_x = matmul(fold(x), W_ih.T).reshape(T, B, 4 * H)
    h, c = (cupy.empty((T + 1, B, H), x.dtype) for _ in range(2))
    gates = cupy.empty((T, B, 4 * H), x.dtype)
    y = None if lengths is None else cupy.empty((T, B, H), x.dtype)
    h[first], c[first] = h0, c0
    sizes = {"T": T, "B": B, "H": H, "reverse": reverse}
    args = KERNELS.pack(
        "LstmForward", a_x=a_x, W_hh=W_hh, b_ih=b_ih, b_hh=b_hh, lengths=lengths, gates=gates, h=h, c=c, y=y, **sizes
    )
    version, plan = choose_version(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        sliced.KERNELS.launch("lstm_sliced_forward", args, arrived, plan.parts, plan.units, plan.rows)
    elif version == 2:
        KERNELS.launch("lstm_persistent_forward", args)
    else:
        for t in steps:
            a_h = matmul(h[t + before], W_hh.T)  # (B, 4H)
            KERNELS.launch("lstm_step_forward", args, a_h, t)
    y = states_after(h, reverse) if y is None else y  # (T, B, H)
    return Output(y, h[last].copy(), c[last].copy()), Saved(x, h, c, gates, W_ih, W_hh, lengths, reverse)


def backward(dy, saved, *, version=None):
    x, h, c, gates, W_ih, W_hh, lengths, reverse = saved
    dy, dh_n, dc_n = dy
    T, B, _ = x.shape
    H = W_hh.shape[1]
    steps = order(T, reverse).steps
    dh, dc = (cupy.zeros((B, H), x.dtype) if d is None else d.copy() for d in (dh_n, dc_n))  # (B, H) each
    da = cupy.empty((T, B, 4 * H), x.dtype)
    sizes = {"T": T, "B": B, "H": H, "reverse": reverse}
    args = KERNELS.pack("LstmBackward", dy=dy, c=c, gates=gates, W_hh=W_hh, lengths=lengths, dh=dh, dc=dc, da=da, **sizes)
    version, plan = choose_version(version, H, B, x.itemsize)
    if version == 3:
        arrived = cupy.zeros(plan.parts, "uint32")
        sliced.KERNELS.launch("lstm_sliced_backward", args, arrived, plan.parts, plan.units, plan.rows)
    elif version == 2:
        KERNELS.launch("lstm_persistent_backward", args)
    else:
        for t in reversed(steps):
            KERNELS.launch("lstm_step_backward", args, t)
            dh += matmul(da[t], W_hh)  # (B, H)
    rows = fold(da)  # (T B, 4H)
    dx = matmul(rows, W_ih).reshape(x.shape)
    db = column_sums(rows)  # (4H,)
    return dx, dh, dc, matmul(rows.T, fold(x)), matmul(rows.T, fold(states_before(h, reverse))), db, db.copy()


def cell_forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh):
    (h, _, _), saved = forward(x[None], h0, c0, W_ih, W_hh, b_ih, b_hh, version=1)
    return CellOutput(h[0], saved.c[1]), CellSaved(x, h0, c0, saved.c[1], saved.gates[0], W_ih, W_hh)


def cell_backward(dy, saved):
    x, h0, c0, c, gates, W_ih, W_hh = saved
    dh, dc = dy
    states = cupy.stack([h0, h0]), cupy.stack([c0, c])  # (2, B, H) each; h after the step is not needed
    dx, *others = backward((None, dh, dc), Saved(x[None], *states, gates[None], W_ih, W_hh, None, False), version=1)
    return dx[0], *others
