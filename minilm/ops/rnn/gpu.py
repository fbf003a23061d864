"""The simple recurrent layer on the GPU: a product and a kernel a step."""

from __future__ import annotations

import cupy

from minilm.ops.contract import fold
from minilm.ops.cuda import Kernel, Kernels, blocks
from minilm.ops.cuda.columns import column_sums
from minilm.ops.cuda.products import matmul
from minilm.ops.recurrence import order, states_after, states_before
from minilm.ops.rnn.spec import CellSaved, Output, Saved

KERNELS = Kernels(
    __file__,
    Kernel("rnn_step_forward", grid=lambda s: blocks(s.B * s.H)),
    Kernel("rnn_step_backward", grid=lambda s: blocks(s.B * s.H)),
)


def forward(x, h0, W_ih, W_hh, b_ih, b_hh, lengths=None, *, reverse=False, nonlinearity="tanh"):
    T, B, _ = x.shape
    H = len(W_hh)
    first, last, before, after, steps = order(T, reverse)
    relu = nonlinearity == "relu"
    a_x = matmul(fold(x), W_ih.T).reshape(T, B, H)
    h = cupy.empty((T + 1, B, H), x.dtype)
    y = None if lengths is None else cupy.empty((T, B, H), x.dtype)
    h[first] = h0
    for t in steps:
        a_h = matmul(h[t + before], W_hh.T)  # (B, H)
        y_t = None if y is None else y[t]
        KERNELS.launch("rnn_step_forward", a_x[t], a_h, b_ih, b_hh, h[t + before], lengths, h[t + after], y_t, B, H, t, relu)
    y = states_after(h, reverse) if y is None else y  # (T, B, H)
    return Output(y, h[last].copy()), Saved(x, h, W_ih, W_hh, lengths, reverse, nonlinearity)


def backward(dy, saved):
    x, h, W_ih, W_hh, lengths, reverse, nonlinearity = saved
    dy, dh_n = dy
    T, B, _ = x.shape
    H = len(W_hh)
    _, _, _, after, steps = order(T, reverse)
    dh = cupy.zeros((B, H), x.dtype) if dh_n is None else dh_n.copy()  # (B, H)
    da = cupy.empty((T, B, H), x.dtype)
    for t in reversed(steps):
        dy_t = None if dy is None else dy[t]
        KERNELS.launch("rnn_step_backward", dy_t, h[t + after], lengths, dh, da[t], B, H, t, nonlinearity == "relu")
        dh += matmul(da[t], W_hh)  # (B, H)
    rows = fold(da)  # (T B, H)
    dx = matmul(rows, W_ih).reshape(x.shape)
    db = column_sums(rows)  # (H,)
    return dx, dh, matmul(rows.T, fold(x)), matmul(rows.T, fold(states_before(h, reverse))), db, db.copy()


def cell_forward(x, h0, W_ih, W_hh, b_ih, b_hh, *, nonlinearity="tanh"):
    (h, _), saved = forward(x[None], h0, W_ih, W_hh, b_ih, b_hh, nonlinearity=nonlinearity)
    return h[0], CellSaved(x, h0, saved.h[1], W_ih, W_hh, nonlinearity)


def cell_backward(dy, saved):
    x, h0, h, W_ih, W_hh, nonlinearity = saved
    states = cupy.stack([h0, h])  # (2, B, H)
    dx, *others = backward((dy[None], None), Saved(x[None], states, W_ih, W_hh, None, False, nonlinearity))
    return dx[0], *others
