"""Scaled dot-product attention in plain NumPy, with the whole matrix P of weights in memory."""

from __future__ import annotations

import numpy as np

from minilm.ops.attention.spec import Output, Saved, into
from minilm.ops.dropout.spec import threshold_and_scale
from minilm.ops.philox import oracle as philox


def heads(x):
    """(B, T, H, K) -> (B, H, T, K), and back: the product of two such arrays is a matrix product for each head."""
    return x.transpose(0, 2, 1, 3)


def visible(Tq, Tk, causal, band, key_mask):
    """Whether query i sees key j: (Tq, Tk), or with a mask (B, 1, Tq, Tk)."""
    i, j = np.arange(Tq)[:, None], np.arange(Tk)  # (Tq, 1), (Tk,)
    see = np.ones((Tq, Tk), bool)  # (Tq, Tk)
    if causal:
        last = i + Tk - Tq  # (Tq, 1)
        see &= j <= last  # (Tq, Tk)
        if band is not None:
            see &= j > last - band  # (Tq, Tk)
    elif band is not None:
        see &= abs(i - j) < band  # (Tq, Tk)
    return see if key_mask is None else see & key_mask[:, None, None, :]  # (Tq, Tk) or (B, 1, Tq, Tk)


def zero_hidden(x, key_mask):
    """Keys or values with zeros where the mask hides them: a NaN there would stay one, times a weight of 0."""
    return x if key_mask is None else np.where(key_mask[:, :, None, None], x, 0)  # (B, Tk, G, K)


def repeat_heads(x, H):
    """Keys or values (B, Tk, G, K) as each of H heads of queries reads them, (B, Tk, H, K)."""
    return np.repeat(x, H // max(1, x.shape[2]), axis=2)


def sum_heads(dx, G):
    """The gradient (B, Tk, H, K) of what `repeat_heads` returns, summed over the copies of each head: (B, Tk, G, K)."""
    B, Tk, H, K = dx.shape
    return dx.reshape(B, Tk, G, H // max(1, G), K).sum(axis=3)


def scores(query, key, causal, band, key_mask, scale, softcap):
    """S (B, H, Tq, Tk), with -inf where query i does not see key j."""
    S = scale * heads(query) @ heads(key).swapaxes(2, 3)  # (B, H, Tq, Tk)
    if softcap is not None:
        S = softcap * np.tanh(S / softcap)  # (B, H, Tq, Tk)
    return np.where(visible(*S.shape[2:], causal, band, key_mask), S, -np.inf).astype(S.dtype)  # (B, H, Tq, Tk)


def or_zero(m):
    """`m` with 0 in place of -inf: it is subtracted from scores, and -inf - (-inf) would be NaN."""
    return np.where(m == -np.inf, 0, m).astype(m.dtype)


def factors(shape, dtype, dropout, rng):
    """Z (B, H, Tq, Tk): dropout's factor for each weight."""
    if dropout == 0:
        return np.ones((1, 1, 1, 1), dtype)
    threshold, scale = threshold_and_scale(dropout)
    return np.where(philox.bits(rng, shape) >= threshold, scale, 0).astype(dtype)  # (B, H, Tq, Tk)


def forward(
    query,
    key,
    value,
    *,
    causal=False,
    band=None,
    key_mask=None,
    scale=None,
    softcap=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
):
    H = query.shape[2]
    S = scores(query, repeat_heads(zero_hidden(key, key_mask), H), causal, band, key_mask, scale, softcap)  # (B, H, Tq, Tk)
    m = or_zero(S.max(axis=-1, keepdims=True, initial=-np.inf))  # (B, H, Tq, 1)
    e = np.exp(S - m)  # (B, H, Tq, Tk)
    l = e.sum(axis=-1, keepdims=True)  # (B, H, Tq, 1)
    P = e / np.where(l == 0, 1, l)  # (B, H, Tq, Tk)
    Z = factors(P.shape, P.dtype, dropout, rng)  # (B, H, Tq, Tk)
    y = heads((P * Z) @ heads(repeat_heads(zero_hidden(value, key_mask), H)))  # (B, Tq, H, Kv)
    with np.errstate(divide="ignore"):
        logsumexp = (m + np.log(l))[..., 0]  # (B, H, Tq)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng)
    return Output(y, P) if return_weights else y, saved


def backward(dy, saved, *, out=None):
    query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng = saved
    H, G = query.shape[2], key.shape[2]
    key, value = (repeat_heads(zero_hidden(x, key_mask), H) for x in (key, value))  # (B, Tk, H, K), (B, Tk, H, Kv)
    S = scores(query, key, causal, band, key_mask, scale, softcap)  # (B, H, Tq, Tk)
    P = np.exp(S - or_zero(logsumexp)[..., None])  # (B, H, Tq, Tk)
    Z = factors(P.shape, P.dtype, dropout, rng)  # (B, H, Tq, Tk)
    dP = Z * (heads(dy) @ heads(value).swapaxes(2, 3))  # (B, H, Tq, Tk)
    D = (heads(dy) * heads(y)).sum(axis=-1, keepdims=True)  # (B, H, Tq, 1)
    dS = scale * P * (dP - D)  # (B, H, Tq, Tk); scale is a factor of both gradients
    if softcap is not None:
        dS = dS * (1 - (or_zero(S) / softcap) ** 2)  # (B, H, Tq, Tk)
    dquery = heads(dS @ heads(key))  # (B, Tq, H, K)
    dkey = sum_heads(heads(dS.swapaxes(2, 3) @ heads(query)), G)  # (B, Tk, G, K)
    dvalue = sum_heads(heads((P * Z).swapaxes(2, 3) @ heads(dy)), G)  # (B, Tk, G, Kv)
    return into(out, dquery, dkey, dvalue)
