"""The conditional random field on the CPU: a row after another, with a step's K² ways in the cache."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.crf.spec import Saved
from minilm.ops.sums import copy
from minilm.ops.workspace import empty, scratch

WORTH = 2**13  # exponentials that are worth a thread


@jit(fastmath=REASSOC, part=True)
def _or_zero(n):
    # n, or 0 where it is -inf: whatever it is subtracted from then stays as it is
    return type(n)(0) if n == -math.inf else n


@jit(fastmath=REASSOC, part=True)
def _log_sum_exp(row):
    # row (K,)
    m = row[0]
    for k in range(len(row)):
        m = row[k] if row[k] > m else m
    m = _or_zero(m)
    s = row.dtype.type(0)
    for k in range(len(row)):
        s += simd.exp(row[k] - m)
    return m + row.dtype.type(math.log(s))


@jit(fastmath=REASSOC, part=True, counted=False)
def _largest(before, transitions, m):
    # m[j] = the largest of before[i] + transitions[i, j] over i, or 0 where that is -inf; all (K,), transitions (K, K)
    K = len(m)
    for j in range(K):
        m[j] = before[0] + transitions[0, j]
    for i in range(1, K):
        for j in range(K):
            way = before[i] + transitions[i, j]
            m[j] = way if way > m[j] else m[j]
    for j in range(K):
        m[j] = _or_zero(m[j])


@jit(fastmath=REASSOC, part=True, counted=False)
def _step(before, transitions, m, s):
    # m[j] = log of the sum over i of exp(before[i] + transitions[i, j]); s (K,) is scratch
    _largest(before, transitions, m)
    K = len(m)
    for j in range(K):
        s[j] = 0
    for i in range(K):
        for j in range(K):
            s[j] += simd.exp(before[i] + transitions[i, j] - m[j])
    for j in range(K):
        m[j] += m.dtype.type(math.log(s[j]))


@jit(fastmath=REASSOC, part=True, counted=False)
def _step_backward(before, transitions, g, p, m, s, x, dtransitions):
    # p (K,), the marginals of a step, become those of the step before; dtransitions (K, K) += g times those of pairs of tags
    _largest(before, transitions, m)
    K = len(m)
    for j in range(K):
        s[j] = 0
    for i in range(K):
        row = x[i]
        for j in range(K):
            row[j] = simd.exp(before[i] + transitions[i, j] - m[j])
            s[j] += row[j]
    for j in range(K):
        s[j] = p[j] / s[j] if s[j] != 0 else s.dtype.type(0)  # 0 where no tag may stand before tag j
    for i in range(K):
        row, into, total = x[i], dtransitions[i], p.dtype.type(0)
        for j in range(K):
            q = row[j] * s[j]
            into[j] += g * q
            total += q
        p[i] = total


@jit(fastmath=REASSOC)
def _forward(begin, stop, emissions, tags, transitions, start, end, lengths, alpha, nll):
    # rows [begin, stop) of emissions, alpha (B, T, K), tags (B, T), nll (B,); lengths (B,), or (0,): all whole
    T, K = emissions.shape[1:]
    real = alpha.dtype.type
    m, s = np.empty(K, alpha.dtype), np.empty(K, alpha.dtype)
    for b in range(begin, stop):
        L = lengths[b] if len(lengths) else T
        total = 0.0
        for t in range(L):
            u, e = alpha[b, t], emissions[b, t]
            if t == 0:
                for j in range(K):
                    u[j] = start[j] + e[j]
            else:
                before = alpha[b, t - 1]
                _step(before, transitions, m, s)
                for j in range(K):
                    u[j] = e[j] + m[j]
                i, j = tags[b, t - 1], tags[b, t]
                total += np.float64(_or_zero(m[j]) - (before[i] + transitions[i, j]))
            n = _or_zero(_log_sum_exp(u))
            for j in range(K):
                u[j] -= n
        for j in range(K):
            m[j] = alpha[b, L - 1, j] + end[j]
        nll[b] = real(total + np.float64(_or_zero(_log_sum_exp(m)) - m[tags[b, L - 1]]))
        alpha[b, L:] = 0


@jit(fastmath=REASSOC)
def _backward(begin, stop, dnll, tags, transitions, end, lengths, alpha, demissions, parts, firsts, lasts):
    # rows [begin, stop) of all but transitions and end; parts (B, K, K), firsts and lasts (B, K) are each row's gradients
    T, K = alpha.shape[1:]
    p, m, s, x = np.empty(K, alpha.dtype), np.empty(K, alpha.dtype), np.empty(K, alpha.dtype), np.empty((K, K), alpha.dtype)
    for b in range(begin, stop):
        L = lengths[b] if len(lengths) else T
        g = dnll[b]
        parts[b] = 0
        demissions[b, L:] = 0
        for j in range(K):
            p[j] = alpha[b, L - 1, j] + end[j]
        n = _or_zero(_log_sum_exp(p))
        for j in range(K):
            p[j] = simd.exp(p[j] - n)
        for t in range(L - 1, -1, -1):
            d = demissions[b, t]
            for j in range(K):
                d[j] = g * p[j]
            d[tags[b, t]] -= g
            if t == 0:
                break
            _step_backward(alpha[b, t - 1], transitions, g, p, m, s, x, parts[b])
            parts[b, tags[b, t - 1], tags[b, t]] -= g
        copy(demissions[b, 0], firsts[b])
        copy(demissions[b, L - 1], lasts[b])


@jit
def _decode(begin, stop, emissions, transitions, start, end, lengths, back, tags, scores):
    # rows [begin, stop) of emissions (B, T, K), back (B, T, K), tags (B, T), scores (B,)
    T, K = emissions.shape[1:]
    v, best = np.empty(K, emissions.dtype), np.empty(K, emissions.dtype)
    for b in range(begin, stop):
        L = lengths[b] if len(lengths) else T
        for j in range(K):
            v[j] = start[j] + emissions[b, 0, j]
        for t in range(1, L):
            where = back[b, t]
            for j in range(K):
                best[j], where[j] = v[0] + transitions[0, j], 0
            for i in range(1, K):
                for j in range(K):
                    way = v[i] + transitions[i, j]
                    if way > best[j]:
                        best[j], where[j] = way, i
            for j in range(K):
                v[j] = emissions[b, t, j] + best[j]
        tag = 0
        for j in range(K):
            v[j] += end[j]
            if v[j] > v[tag]:
                tag = j
        scores[b] = v[tag]
        tags[b, L:] = -100
        for t in range(L - 1, 0, -1):
            tags[b, t] = tag
            tag = back[b, t, tag]
        tags[b, 0] = tag


def _lengths_or_empty(lengths):
    return np.empty(0, np.int64) if lengths is None else lengths


def _grain(T: int, K: int) -> int:
    """Rows that are worth a thread."""
    return max(1, WORTH // (T * K * K))


def forward(emissions, tags, transitions, start, end, lengths=None):
    B, T, K = emissions.shape
    alpha, nll = empty(emissions.shape, emissions.dtype), empty((B,), emissions.dtype)  # (B, T, K), (B,)
    arguments = (emissions, tags, transitions, start, end, _lengths_or_empty(lengths), alpha, nll)
    devices.parallel(_forward, B, *arguments, grain=_grain(T, K))
    return nll, Saved(tags, transitions, end, lengths, alpha)


def backward(dnll, saved):
    tags, transitions, end, lengths, alpha = saved
    B, T, K = alpha.shape
    demissions = empty(alpha.shape, alpha.dtype)  # (B, T, K)
    dtransitions, dstart, dend = (empty(shape, alpha.dtype) for shape in ((K, K), (K,), (K,)))
    with scratch():
        parts = [empty((B, *whole.shape), alpha.dtype) for whole in (dtransitions, dstart, dend)]  # (B, K, K), (B, K) twice
        arguments = (dnll, tags, transitions, end, _lengths_or_empty(lengths), alpha, demissions, *parts)
        devices.parallel(_backward, B, *arguments, grain=_grain(T, K))
        for whole, part in zip((dtransitions, dstart, dend), parts, strict=True):
            part.sum(axis=0, out=whole)  # in an order that does not depend on the threads
    return demissions, dtransitions, dstart, dend


def decode(emissions, transitions, start, end, lengths=None):
    B, T, K = emissions.shape
    tags, scores = empty((B, T), np.int64), empty((B,), emissions.dtype)  # (B, T), (B,)
    with scratch():
        back = empty((B, T, K), np.int32)  # (B, T, K)
        arguments = (emissions, transitions, start, end, _lengths_or_empty(lengths), back, tags, scores)
        devices.parallel(_decode, B, *arguments, grain=_grain(T, K))
    return tags, scores
