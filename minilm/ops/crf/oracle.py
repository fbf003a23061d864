"""The conditional random field in plain NumPy, a line of code a line of formula; all rows at once, step by step."""

from __future__ import annotations

import numpy as np

from minilm.ops.crf.spec import Saved


def or_zero(n):
    """n, or 0 where it is -inf: whatever it is subtracted from then stays as it is."""
    return np.where(n == -np.inf, 0, n)


def log_sum_exp(x, axis):
    """LSE; of nothing but -inf it is -inf."""
    m = or_zero(x.max(axis=axis, keepdims=True))
    with np.errstate(divide="ignore"):  # log 0 is -inf
        return np.squeeze(m + np.log(np.exp(x - m).sum(axis=axis, keepdims=True)), axis)


def whole(lengths, shape):
    """The lengths of all rows, and which steps count."""
    B, T = shape
    lengths = np.full(B, T) if lengths is None else lengths  # (B,)
    return lengths, np.arange(T) < lengths[:, None]  # (B,), (B, T)


def score(emissions, tags, transitions, start, end, lengths):
    """s."""
    B, T, _ = emissions.shape
    lengths, counted = whole(lengths, (B, T))
    rows, tags = np.arange(B), np.where(counted, tags, 0)  # (B,), (B, T)
    e = np.where(counted, np.take_along_axis(emissions, tags[..., None], axis=2)[..., 0], 0)  # (B, T)
    a = np.where(counted[:, 1:], transitions[tags[:, :-1], tags[:, 1:]], 0)  # (B, T - 1)
    return start[tags[:, 0]] + e.sum(axis=1) + a.sum(axis=1) + end[tags[rows, lengths - 1]]  # (B,)


def forward(emissions, tags, transitions, start, end, lengths=None):
    B, T, _ = emissions.shape
    L, counted = whole(lengths, (B, T))
    emissions = np.where(counted[..., None], emissions, 0)  # (B, T, K)
    alpha = np.zeros_like(emissions)  # (B, T, K)
    log_Z = np.zeros(B, emissions.dtype)  # (B,)
    for t in range(T):
        before = start if t == 0 else log_sum_exp(alpha[:, t - 1, :, None] + transitions, axis=1)  # (B, K)
        u = emissions[:, t] + before  # (B, K)
        n = log_sum_exp(u, axis=1)  # (B,)
        alpha[:, t] = np.where(counted[:, t, None], u - or_zero(n)[:, None], 0)  # (B, K)
        log_Z += np.where(counted[:, t], n, 0)  # (B,)
    log_Z += log_sum_exp(alpha[np.arange(B), L - 1] + end, axis=1)  # (B,)
    nll = or_zero(log_Z) - score(emissions, tags, transitions, start, end, lengths)  # (B,)
    return nll, Saved(tags, transitions, end, lengths, alpha)


def softmax(x, axis):
    """Softmax; of nothing but -inf it is 0."""
    return np.exp(x - np.expand_dims(or_zero(log_sum_exp(x, axis)), axis))


def backward(dnll, saved):
    tags, A, end, lengths, alpha = saved
    B, T, K = alpha.shape
    L, counted = whole(lengths, (B, T))
    right = np.where(counted[..., None], np.arange(K) == tags[..., None], 0)  # (B, T, K)
    demissions, dtransitions = np.zeros_like(alpha), np.zeros_like(A)  # (B, T, K), (K, K)
    last = softmax(alpha[np.arange(B), L - 1] + end, axis=1)  # (B, K), p of a row's last step
    p = np.zeros_like(last)  # (B, K)
    for t in reversed(range(T)):
        p = np.where((L - 1 == t)[:, None], last, p)  # (B, K); 0 beyond a row's length
        demissions[:, t] = dnll[:, None] * (p - right[:, t])  # (B, K)
        if t > 0:
            q = p[:, None] * softmax(alpha[:, t - 1, :, None] + A, axis=1)  # (B, K, K)
            r = right[:, t - 1, :, None] * right[:, t, None]  # (B, K, K)
            dtransitions += np.tensordot(dnll, q - r, 1)  # (K, K)
            p = q.sum(axis=2)  # (B, K)
    return demissions, dtransitions, demissions[:, 0].sum(axis=0), demissions[np.arange(B), L - 1].sum(axis=0)


def decode(emissions, transitions, start, end, lengths=None):
    B, T, K = emissions.shape
    L, counted = whole(lengths, (B, T))
    emissions = np.where(counted[..., None], emissions, 0)  # (B, T, K)
    back = np.zeros((B, T, K), np.int64)  # (B, T, K)
    v = start + emissions[:, 0]  # (B, K)
    for t in range(1, T):
        ways = v[:, :, None] + transitions  # (B, K, K)
        back[:, t] = ways.argmax(axis=1)  # (B, K)
        v = np.where(counted[:, t, None], emissions[:, t] + ways.max(axis=1), v)  # (B, K)
    v = v + end  # (B, K)
    tags, tag = np.full((B, T), -100), v.argmax(axis=1)  # (B, T), (B,)
    for t in reversed(range(T)):
        tags[:, t] = np.where(counted[:, t], tag, -100)  # (B,)
        tag = np.where(counted[:, t], back[np.arange(B), t, tag], tag)  # (B,)
    return tags, v.max(axis=1)
