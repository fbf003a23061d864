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

A masked step leaves h and c as they are. Backward, with dh and dc from later steps, φ' and γ' written by what φ and γ gave::

    LSTM    do = dh φ(c)    dc += dh o φ'    di = dc g    df = dc c'    dg = dc i    da = (di γ', df γ', dg φ', do γ')
            dh̃ = W_hhᵀ da                   dc' = dc f
    GRU     dz = dh (h̃ - n)    da_n = dh (1 - z) φ'     then  reset_after:  dr = da_n u_n,  du_n = da_n r
            without:  d(r h̃) = W_hnᵀ da_n,  dr = d(r h̃) h̃    and  dh̃ = dh z + d(r h̃) r + W_hhᵀ (dr γ', dz γ')
    RNN     da = dh φ'          dh̃ = W_hhᵀ da
    dh' = m dh̃

Source: Keras, keras/src/layers/rnn (the place of the dropout is that of its ``implementation=2``, its default).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import padding
from minilm.sequential.activations import FUNCTIONS
from minilm.typing import Array

__all__ = ["Saved", "backward", "forward"]


class Saved(NamedTuple):
    """What backward needs."""

    kind: str
    x: np.ndarray  # (T, B, D)
    W_ih: np.ndarray  # (G*H, D)
    W_hh: np.ndarray  # (G*H, H)
    steps: list[Any]  # what each step keeps, in the order in which they were taken
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
    phi, gamma = FUNCTIONS[activation][0], FUNCTIONS[gate][0]
    x = padding.zeroed(x, kept)
    A = x @ W_ih.T + b_ih  # (T, B, G*H)
    h, c = module.zeros((B, H), x.dtype), module.zeros((B, H), x.dtype)
    y, steps = module.empty((T, B, H), x.dtype), []
    order = list(range(T - 1, -1, -1) if reverse else range(T))
    for t in order:
        entering = h if drop is None else h * drop  # (B, H)
        if kind == "lstm":
            a = A[t] + entering @ W_hh.T + b_hh  # (B, 4H)
            i, f, o = gamma(a[:, :H]), gamma(a[:, H : 2 * H]), gamma(a[:, 3 * H :])
            g = phi(a[:, 2 * H : 3 * H])
            c_new = f * c + i * g
            shown = phi(c_new)
            h_new = o * shown
            steps.append((entering, i, f, g, o, c, shown))
            c = c_new if kept is None else np.where(kept[t][:, None], c_new, c)
        elif kind == "gru":
            if reset_after:
                u = entering @ W_hh.T + b_hh  # (B, 3H)
            else:
                u = np.concatenate([entering @ W_hh[: 2 * H].T + b_hh[: 2 * H], module.zeros((B, H), x.dtype)], axis=1)
            r, z = gamma(A[t][:, :H] + u[:, :H]), gamma(A[t][:, H : 2 * H] + u[:, H : 2 * H])
            inner = r * u[:, 2 * H :] if reset_after else (r * entering) @ W_hh[2 * H :].T + b_hh[2 * H :]
            n = phi(A[t][:, 2 * H :] + inner)
            h_new = z * entering + (1 - z) * n
            steps.append((entering, r, z, n, u[:, 2 * H :]))
        else:
            h_new = phi(A[t] + entering @ W_hh.T + b_hh)
            steps.append((entering, h_new))
        h = h_new if kept is None else np.where(kept[t][:, None], h_new, h)
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
    dphi, dgamma = (FUNCTIONS[name][1] for name in saved.names)
    dA, dW, db_hh = (module.zeros(shape, W_hh.dtype) for shape in ((T, B, len(W_hh)), W_hh.shape, len(W_hh)))
    dh = module.zeros((B, H), W_hh.dtype) if dlast is None else dlast
    dc = module.zeros((B, H), W_hh.dtype)
    for t, step in zip(reversed(saved.order), reversed(saved.steps), strict=True):
        dh = dh if dy is None else dh + dy[t]
        skipped = skipped_c = 0  # what goes past a masked step
        if saved.kept is not None:
            k = saved.kept[t][:, None]
            skipped, dh, skipped_c, dc = np.where(k, 0, dh), np.where(k, dh, 0), np.where(k, 0, dc), np.where(k, dc, 0)
        entering = step[0]
        if saved.kind == "lstm":
            _, i, f, g, o, c_before, shown = step
            dc = dc + dh * o * dphi(shown)
            da = np.concatenate(
                [dc * g * dgamma(i), dc * c_before * dgamma(f), dc * i * dphi(g), dh * shown * dgamma(o)], axis=1
            )  # (B, 4H)
            dentering = da @ W_hh
            dW += da.T @ entering
            db_hh += da.sum(axis=0)
            dc = dc * f + skipped_c
        elif saved.kind == "gru":
            _, r, z, n, u = step
            da_n = dh * (1 - z) * dphi(n)
            da_z = dh * (entering - n) * dgamma(z)
            if saved.reset_after:
                da_r, du_n = da_n * u * dgamma(r), da_n * r
                du = np.concatenate([da_r, da_z, du_n], axis=1)  # (B, 3H)
                dentering = dh * z + du @ W_hh
                dW += du.T @ entering
            else:
                dreset = da_n @ W_hh[2 * H :]  # (B, H), by r h̃
                da_r = dreset * entering * dgamma(r)
                du = np.concatenate([da_r, da_z, da_n], axis=1)
                dentering = dh * z + dreset * r + du[:, : 2 * H] @ W_hh[: 2 * H]
                dW[: 2 * H] += du[:, : 2 * H].T @ entering
                dW[2 * H :] += da_n.T @ (r * entering)
            db_hh += du.sum(axis=0)
            da = np.concatenate([da_r, da_z, da_n], axis=1)
        else:
            da = dh * dphi(step[1])
            dentering = da @ W_hh
            dW += da.T @ entering
            db_hh += da.sum(axis=0)
        dA[t] = da
        dh = (dentering if saved.drop is None else dentering * saved.drop) + skipped
    dx = dA @ saved.W_ih
    rows, inputs = dA.reshape(T * B, -1), saved.x.reshape(T * B, -1)
    return dx, rows.T @ inputs, dW, rows.sum(axis=0), db_hh
