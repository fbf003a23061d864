"""Recurrent layers step by step in NumPy, or CuPy, for what the ops do not compute.

The ops have the activations that the literature and cuDNN have, and run at the speed of matrix products. Keras lets a program
ask for more: other activations, dropout on the state that enters the recurrent product, and a GRU whose reset gate stands before
that product. Such layers run here, one step of the sequence after the other, for the whole batch at once. With m the mask of the
dropout (1 / (1 - p) or 0 for each row and unit, the same at all steps; ones without it), h̃ = m h' and A = W_ih x + b_ih::

    LSTM    a = A + W_hh h̃             i, f, o = γ(a)      g = φ(a)
            c = f c' + i g              h = o φ(c)
    GRU     u = W_hh h̃ + b_hh          r, z = γ(A + u)     n = φ(A + r u)                           reset_after
            u = W_hh h̃                 r, z = γ(A + u)     n = φ(A + W_hn (r h̃))                   without
            h = z h̃ + (1 - z) n
    RNN     h = φ(A + W_hh h̃)

A masked step leaves h and c as they are. Backward, with dh and dc from later steps, φ' and γ' in terms of φ's and γ's outputs::

    LSTM    do = dh φ(c)    dc += dh o φ'    di = dc g    df = dc c'    dg = dc i    da = (di γ', df γ', dg φ', do γ')
            dh̃ = W_hhᵀ da                   dc' = dc f
    GRU     dz = dh (h̃ - n)    da_n = dh (1 - z) φ'     then  reset_after:  dr = da_n u_n,  du_n = da_n r
            without:  d(r h̃) = W_hnᵀ da_n,  dr = d(r h̃) h̃    and  dh̃ = dh z + d(r h̃) r + W_hhᵀ (dr γ', dz γ')
    RNN     da = dh φ'          dh̃ = W_hhᵀ da
    dh' = m dh̃

Source: Keras, keras/src/layers/rnn (the place of the dropout is that of its ``implementation=2``, its default).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import padding
from minilm.sequential.activations import FUNCTIONS
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


class Cell(NamedTuple):
    """What is the same at all steps."""

    W_hh: np.ndarray  # (G*H, H)
    b_hh: np.ndarray | None  # (G*H,); None in backward, which does not read it
    phi: Callable  # φ
    dphi: Callable  # φ' in terms of φ's output
    gamma: Callable  # γ
    dgamma: Callable  # γ' in terms of γ's output
    reset_after: bool  # of a GRU


class Saved(NamedTuple):
    """What backward needs."""

    kind: str
    x: np.ndarray  # (T, B, D)
    W_ih: np.ndarray  # (G*H, D)
    W_hh: np.ndarray  # (G*H, H)
    steps: list[Any]  # what each step saved, in the order in which they were taken
    order: list[int]
    kept: np.ndarray | None  # (T, B)
    drop: np.ndarray | None  # (B, H)
    names: tuple[str, str]  # of φ and γ
    reset_after: bool


def forward(
    kind: str,
    x: Array,
    W_ih: Array,
    W_hh: Array,
    b_ih: Array,
    b_hh: Array,
    *,
    kept: Array | None,
    drop: Array | None,
    activation: str,
    gate: str,
    reset_after: bool,
    reverse: bool,
) -> tuple[Array, Array, Saved]:
    """All states of a sequence.

    Parameters
    ----------
    kind : {"lstm", "gru", "rnn"}
    x : ndarray, shape (T, B, D)
    W_ih, W_hh, b_ih, b_hh : ndarray, shapes (G*H, D), (G*H, H), (G*H,), (G*H,)
        Gates in the order of the ops.
    kept : ndarray of bool, shape (T, B), or None
        Which steps count.
    drop : ndarray, shape (B, H), or None
        What the state is multiplied by on its way into the recurrent product.
    activation, gate : str
        φ and γ, of `minilm.sequential.activations.FUNCTIONS`.
    reset_after, reverse : bool

    Returns
    -------
    y : ndarray, shape (T, B, H)
        The state after each step, in time order.
    last : ndarray, shape (B, H)
    saved : Saved
    """
    T, B, _ = x.shape
    H, module = W_hh.shape[1], devices.array_module(x)
    cell, step = Cell(W_hh, b_hh, *FUNCTIONS[activation], *FUNCTIONS[gate], reset_after), CELLS[kind][0]
    x = padding.zeroed(x, kept)
    A = x @ W_ih.T + b_ih  # (T, B, G*H)
    h, c = module.zeros((B, H), x.dtype), module.zeros((B, H), x.dtype)
    y, steps = module.empty((T, B, H), x.dtype), []
    order = list(range(T - 1, -1, -1) if reverse else range(T))
    for t in order:
        h_new, c_new, saved = step(cell, A[t], h if drop is None else h * drop, c)  # (B, H) twice
        h = h_new if kept is None else np.where(kept[t][:, None], h_new, h)
        c = c_new if kept is None or c_new is c else np.where(kept[t][:, None], c_new, c)
        steps.append(saved)
        y[t] = h
    return y, h, Saved(kind, x, W_ih, W_hh, steps, order, kept, drop, (activation, gate), reset_after)


def backward(dy: Array | None, dlast: Array | None, saved: Saved) -> tuple[Array, ...]:
    """Gradients of `forward`.

    Parameters
    ----------
    dy : ndarray, shape (T, B, H), or None
    dlast : ndarray, shape (B, H), or None

    Returns
    -------
    dx, dW_ih, dW_hh, db_ih, db_hh : ndarray
    """
    T, B, _ = saved.x.shape
    W_hh, H, module = saved.W_hh, saved.W_hh.shape[1], devices.array_module(saved.x)
    phi, gamma = (FUNCTIONS[name] for name in saved.names)
    cell, step_backward = Cell(W_hh, None, *phi, *gamma, saved.reset_after), CELLS[saved.kind][1]
    dA, dW_hh, db_hh = (module.zeros(shape, W_hh.dtype) for shape in ((T, B, len(W_hh)), W_hh.shape, len(W_hh)))
    dh = module.zeros((B, H), W_hh.dtype) if dlast is None else dlast
    dc = module.zeros((B, H), W_hh.dtype)
    for t, step in zip(reversed(saved.order), reversed(saved.steps), strict=True):
        dh = dh if dy is None else dh + dy[t]
        skipped = skipped_c = 0  # what goes past a masked step
        if saved.kept is not None:
            k = saved.kept[t][:, None]
            skipped, dh, skipped_c, dc = np.where(k, 0, dh), np.where(k, dh, 0), np.where(k, 0, dc), np.where(k, dc, 0)
        dA[t], dh, dc, dW_step, db_step = step_backward(cell, dh, dc, step)
        dW_hh += dW_step
        db_hh += db_step
        dh = (dh if saved.drop is None else dh * saved.drop) + skipped
        dc = dc + skipped_c
    dx = dA @ saved.W_ih
    rows, inputs = dA.reshape(T * B, -1), saved.x.reshape(T * B, -1)
    return dx, rows.T @ inputs, dW_hh, rows.sum(axis=0), db_hh


# --- one step ------------------------------------------------------------------------------------------------------------
#
# forward:  A (B, G*H), h̃ and c' (B, H)  ->  h, c, and what backward needs
# backward: dh, dc (B, H)  ->  dA (B, G*H), dh̃, dc', dW_hh (G*H, H), db_hh (G*H,)


def _lstm(cell: Cell, A, h, c):
    H, phi, gamma = h.shape[1], cell.phi, cell.gamma
    a = A + h @ cell.W_hh.T + cell.b_hh  # (B, 4H)
    i, f, o = gamma(a[:, :H]), gamma(a[:, H : 2 * H]), gamma(a[:, 3 * H :])  # (B, H) each
    g = phi(a[:, 2 * H : 3 * H])
    c_new = f * c + i * g
    phi_c = phi(c_new)
    return o * phi_c, c_new, (h, i, f, g, o, c, phi_c)


def _lstm_backward(cell: Cell, dh, dc, saved):
    h, i, f, g, o, c, phi_c = saved
    dphi, dgamma = cell.dphi, cell.dgamma
    dc = dc + dh * o * dphi(phi_c)
    da = np.concatenate([dc * g * dgamma(i), dc * c * dgamma(f), dc * i * dphi(g), dh * phi_c * dgamma(o)], axis=1)  # (B, 4H)
    return da, da @ cell.W_hh, dc * f, da.T @ h, da.sum(axis=0)


def _gru(cell: Cell, A, h, c):
    H, W, b = h.shape[1], cell.W_hh, cell.b_hh
    if cell.reset_after:
        u = h @ W.T + b  # (B, 3H)
    else:
        u = np.concatenate([h @ W[: 2 * H].T + b[: 2 * H], devices.array_module(h).zeros(h.shape, h.dtype)], axis=1)
    r, z = cell.gamma(A[:, :H] + u[:, :H]), cell.gamma(A[:, H : 2 * H] + u[:, H : 2 * H])  # (B, H) each
    inner = r * u[:, 2 * H :] if cell.reset_after else (r * h) @ W[2 * H :].T + b[2 * H :]
    n = cell.phi(A[:, 2 * H :] + inner)
    return z * h + (1 - z) * n, c, (h, r, z, n, u[:, 2 * H :])


def _gru_backward(cell: Cell, dh, dc, saved):
    h, r, z, n, u_n = saved
    H, W, dgamma = h.shape[1], cell.W_hh, cell.dgamma
    da_n = dh * (1 - z) * cell.dphi(n)  # (B, H)
    da_z = dh * (h - n) * dgamma(z)
    if cell.reset_after:
        da_r = da_n * u_n * dgamma(r)
        du = np.concatenate([da_r, da_z, da_n * r], axis=1)  # (B, 3H)
        dh_in = dh * z + du @ W
        dW = du.T @ h
    else:
        dreset = da_n @ W[2 * H :]  # (B, H), by r h̃
        da_r = dreset * h * dgamma(r)
        du = np.concatenate([da_r, da_z, da_n], axis=1)  # (B, 3H)
        dh_in = dh * z + dreset * r + du[:, : 2 * H] @ W[: 2 * H]
        dW = np.concatenate([du[:, : 2 * H].T @ h, da_n.T @ (r * h)])  # (3H, H)
    return np.concatenate([da_r, da_z, da_n], axis=1), dh_in, dc, dW, du.sum(axis=0)


def _rnn(cell: Cell, A, h, c):
    h_new = cell.phi(A + h @ cell.W_hh.T + cell.b_hh)
    return h_new, c, (h, h_new)


def _rnn_backward(cell: Cell, dh, dc, saved):
    h, h_new = saved
    da = dh * cell.dphi(h_new)
    return da, da @ cell.W_hh, dc, da.T @ h, da.sum(axis=0)


CELLS: dict[str, tuple[Callable, Callable]] = {
    "lstm": (_lstm, _lstm_backward),
    "gru": (_gru, _gru_backward),
    "rnn": (_rnn, _rnn_backward),
}
