"""Scaled dot-product attention on the CPU.

Versions, naive to fast:

1. cpu_1.py: the whole matrix of weights, row by row.
2. Here: tiles of the scores, which are never whole in memory.
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.attention.rows import FEW, drops, few_backward, few_forward, weights_of
from minilm.ops.attention.spec import Output, Saved
from minilm.ops.attention.tiles import (
    KEYS,
    QUERIES,
    blank,
    columns,
    ends,
    factors,
    hide,
    keys_product,
    multiply_strip,
    queries_product,
    strip_product,
)
from minilm.ops.dropout.spec import threshold_and_scale
from minilm.ops.memory import address, numbers, pack_rows, pack_turned, place, unpack_rows
from minilm.ops.philox.spec import words
from minilm.ops.tile import ROWS, WIDTH32, WIDTH64, width_of
from minilm.ops.workspace import empty, scratch

FAR = 2**62
SPARE = 16  # numbers, for the scratch to begin where a vector may; its parts are whole vectors
SHARE = 4 * KEYS  # keys of a unit, where a head's are divided
WORTH = 2**22  # multiply-adds that are worth a thread
WORTH_FEW = 2**19  # where few queries read much memory


def _scratch(numbers, count, grain, dtype):
    """A row of so many numbers for each thread that `devices.parallel` will use."""
    return empty((devices.parts(count, grain), -(-numbers // SPARE) * SPARE + SPARE), dtype)


@jit
def _own(scratch, start, count):
    """Address of the row that belongs to the thread whose part of `count` units begins with `start`."""
    parts, width = scratch.shape
    row = address(scratch) + -(-start * parts // max(1, count)) * width * scratch.itemsize
    return row + -row % (4 * SPARE)


@jit(fastmath=REASSOC)
def _forward(start, stop, scratch, places, shape, see, mask, scale, drop, logsumexp, y):
    # units [start, stop): a block of queries of one head each; scratch: a row for each thread
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3) = places
    real, size = y.dtype.type, y.itemsize
    zero, one, minus = real(0), real(1), real(-np.inf)
    width = WIDTH32 if size == 4 else WIDTH64
    lanes = width // 2
    N = -(-Kv // width) * width  # numbers of a packed value
    blocks = -(-Tq // QUERIES)
    v = _own(scratch, start, B * H * blocks)  # (Tk, N) values
    q = v + Tk * N * size  # panels of queries
    s = q + QUERIES * K * size  # (KEYS, QUERIES) scores, then weights
    f = s + KEYS * QUERIES * size  # (KEYS, QUERIES) dropout's factors
    o = f + KEYS * QUERIES * size  # (QUERIES, N) sums of weighted values so far
    m_at = o + QUERIES * N * size
    l_at, shift_at = m_at + QUERIES * size, m_at + 2 * QUERIES * size
    m, l = numbers(m_at, QUERIES, one), numbers(l_at, QUERIES, one)  # (QUERIES,) largest score, sum so far
    shift, shrink = numbers(shift_at, QUERIES, one), numbers(m_at + 3 * QUERIES * size, QUERIES, one)  # (QUERIES,)
    drawn = np.empty((4, KEYS // 4 + 1), np.uint32)
    dropping = drops(drop)
    held = -1
    for unit in range(start, stop):
        n, turn = unit // blocks, unit % blocks
        block = turn // 2 if turn % 2 == 0 else blocks - 1 - turn // 2  # of a causal head, half the units are half the work
        b, h = n // H, n % H
        first, last = ends(mask, b, Tk)
        if n != held:
            pack_rows(v0 + b * v1 + first * v2 + h * v3, v2, last - first, Kv, one, size, N, v + first * N * size)
            blank(v + first * N * size, N, last - first, mask + b * Tk + first if mask != 0 else 0, size, one)
            held = n
        i0 = block * QUERIES
        count = min(QUERIES, Tq - i0)
        pack_turned(q0 + b * q1 + i0 * q2 + h * q3, q2, count, K, scale, size, width, q)
        keys = k0 + b * k1 + h * k3
        for c in range(QUERIES):
            m[c], l[c], shift[c] = minus, zero, zero
        sums = numbers(o, QUERIES * N, one)
        for c in range(QUERIES * N):
            sums[c] = zero
        begin, end = max(first, i0 + see[0]), min(last, i0 + count + see[1])
        for j0 in range(begin, end, KEYS):
            rows = min(KEYS, end - j0)
            for c in range(QUERIES):
                shrink[c] = m[c]
            for j in range(0, rows, ROWS):
                few, strip = min(ROWS, rows - j), s + j * QUERIES * size
                low, high = columns(j0 + j, few, i0, count, see, lanes)
                strip_product(keys + (j0 + j) * k2, k2, few, q, K, low, high, strip, size, width, one)
                masked = mask + b * Tk + j0 + j if mask != 0 else 0
                hide(strip, j0 + j, few, i0, low, high, see, masked, size, minus)
                largest = numbers(m_at + low * size, high - low, one)
                for r in range(few):
                    row = numbers(strip + (r * QUERIES + low) * size, high - low, one)
                    for c in range(len(row)):
                        largest[c] = row[c] if row[c] > largest[c] else largest[c]
            for c in range(QUERIES):
                shift[c] = zero if m[c] == minus else m[c]
                shrink[c] = simd.exp(shrink[c] - shift[c])
                l[c] *= shrink[c]
            if j0 > begin:
                for c in range(count):
                    row = numbers(o + c * N * size, N, one)
                    for d in range(N):
                        row[d] *= shrink[c]
            if dropping:
                factors((n * Tq + i0) * Tk + j0, Tk, count, rows, drop, drawn, f, size)
            for j in range(0, rows, ROWS):
                few, strip = min(ROWS, rows - j), s + j * QUERIES * size
                low, high = columns(j0 + j, few, i0, count, see, lanes)
                sums, by = numbers(l_at + low * size, high - low, one), numbers(shift_at + low * size, high - low, one)
                for r in range(few):
                    row = numbers(strip + (r * QUERIES + low) * size, high - low, one)
                    for c in range(len(row)):
                        e = simd.exp(row[c] - by[c])
                        row[c] = e
                        sums[c] += e
                if dropping:
                    multiply_strip(strip, f + j * QUERIES * size, few, low, high, size, one)
            queries_product(s, rows, j0, i0, count, see, v + j0 * N * size, N, o, size, width, one)
        for c in range(count):
            r = zero if l[c] == zero else one / l[c]
            row, out = numbers(o + c * N * size, Kv, one), y[b, i0 + c, h]
            for d in range(Kv):
                out[d] = row[d] * r
            logsumexp[b, h, i0 + c] = shift[c] + real(math.log(l[c]))


@jit(fastmath=REASSOC)
def _backward(start, stop, scratch, share, places, shape, see, mask, scale, drop, logsumexp, dquery, dkey, dvalue):
    # units [start, stop), each all of a head; or with share < 0 a block of queries of a head, for dquery alone, and with
    # share > 0 so many keys of a head, for dkey and dvalue alone; every sum runs in the same order in either way
    B, Tq, Tk, H, K, Kv = shape
    (q0, q1, q2, q3), (k0, k1, k2, k3), (v0, v1, v2, v3), (y0, y1, y2, y3), (g0, g1, g2, g3) = places
    real, size = dquery.dtype.type, dquery.itemsize
    zero, one, minus = real(0), real(1), real(-np.inf)
    width = WIDTH32 if size == 4 else WIDTH64
    lanes = width // 2
    M, N = -(-K // width) * width, -(-Kv // width) * width  # numbers of a packed key, of a packed value
    blocks = -(-Tq // QUERIES)
    units = blocks if share < 0 else -(-Tk // share) if share > 0 else 1  # of a head
    k = _own(scratch, start, B * H * units)  # (Tk, M) keys
    dk = k + Tk * M * size  # (Tk, M) their gradient
    dv = dk + Tk * M * size  # (Tk, N) gradient of the values
    q = dv + Tk * N * size  # (QUERIES, M) queries
    dq = q + QUERIES * M * size  # (QUERIES, M) their gradient
    g = dq + QUERIES * M * size  # (QUERIES, N) dy
    q_turned = g + QUERIES * N * size  # panels of queries
    g_turned = q_turned + QUERIES * K * size  # panels of dy
    ds = g_turned + QUERIES * Kv * size  # (KEYS, QUERIES)
    f = ds + KEYS * QUERIES * size  # (KEYS, QUERIES) dropout's factors
    p = f + KEYS * QUERIES * size  # (ROWS, QUERIES)
    dp = p + ROWS * QUERIES * size  # (ROWS, QUERIES)
    shift_at = dp + ROWS * QUERIES * size
    D_at = shift_at + QUERIES * size
    shift, D = numbers(shift_at, QUERIES, one), numbers(D_at, QUERIES, one)  # (QUERIES,)
    drawn = np.empty((4, KEYS // 4 + 1), np.uint32)
    dropping = drops(drop)
    held = -1
    for unit in range(start, stop):
        n, part = unit // units, unit % units
        b, h = n // H, n % H
        i_first, i_last = (part * QUERIES, (part + 1) * QUERIES) if share < 0 else (0, Tq)
        j_first, j_last = (part * share, min(Tk, (part + 1) * share)) if share > 0 else (0, Tk)
        first, last = ends(mask, b, Tk)
        first, last = max(first, j_first), min(last, j_last)
        keys, values = k0 + b * k1 + h * k3, v0 + b * v1 + h * v3
        if share <= 0 and n != held:
            pack_rows(keys + first * k2, k2, last - first, K, one, size, M, k + first * M * size)
            blank(k + first * M * size, M, last - first, mask + b * Tk + first if mask != 0 else 0, size, one)
            held = n
        if share >= 0:
            for start_at, width_of_row in ((dk, M), (dv, N)):
                sums = numbers(start_at + j_first * width_of_row * size, (j_last - j_first) * width_of_row, one)
                for c in range(len(sums)):
                    sums[c] = zero
        for i0 in range(i_first, min(Tq, i_last), QUERIES):
            count = min(QUERIES, Tq - i0)
            queries, gradients = q0 + b * q1 + i0 * q2 + h * q3, g0 + b * g1 + i0 * g2 + h * g3
            pack_turned(queries, q2, count, K, scale, size, width, q_turned)
            pack_rows(queries, q2, count, K, scale, size, M, q)
            pack_turned(gradients, g2, count, Kv, one, size, width, g_turned)
            pack_rows(gradients, g2, count, Kv, one, size, N, g)
            for c in range(QUERIES):
                shift[c], D[c] = zero, zero
            for c in range(count):
                row, out = numbers(gradients + c * g2, Kv, one), numbers(y0 + b * y1 + (i0 + c) * y2 + h * y3, Kv, one)
                total = zero
                for d in range(Kv):
                    total += row[d] * out[d]
                D[c] = total
                shift[c] = logsumexp[b, h, i0 + c]
                if shift[c] == minus:
                    shift[c] = zero
            sums = numbers(dq, QUERIES * M, one)
            for c in range(len(sums)):
                sums[c] = zero
            begin, end = max(first, i0 + see[0]), min(last, i0 + count + see[1])
            for j0 in range(begin, end, KEYS):
                rows = min(KEYS, end - j0)
                if dropping:
                    factors((n * Tq + i0) * Tk + j0, Tk, count, rows, drop, drawn, f, size)
                for j in range(0, rows, ROWS):
                    few, strip = min(ROWS, rows - j), ds + j * QUERIES * size
                    low, high = columns(j0 + j, few, i0, count, see, lanes)
                    strip_product(keys + (j0 + j) * k2, k2, few, q_turned, K, low, high, p, size, width, one)
                    strip_product(values + (j0 + j) * v2, v2, few, g_turned, Kv, low, high, dp, size, width, one)
                    masked = mask + b * Tk + j0 + j if mask != 0 else 0
                    hide(p, j0 + j, few, i0, low, high, see, masked, size, minus)
                    blank(dp, QUERIES, few, masked, size, one)
                    if dropping:
                        multiply_strip(dp, f + j * QUERIES * size, few, low, high, size, one)
                    by, less = numbers(shift_at + low * size, high - low, one), numbers(D_at + low * size, high - low, one)
                    for r in range(few):
                        at = (r * QUERIES + low) * size
                        weights, dweights = numbers(p + at, high - low, one), numbers(dp + at, high - low, one)
                        dscores = numbers(strip + at, high - low, one)
                        for c in range(len(weights)):
                            e = simd.exp(weights[c] - by[c])
                            weights[c] = e
                            dscores[c] = e * (dweights[c] - less[c])
                    if dropping:
                        multiply_strip(p, f + j * QUERIES * size, few, low, high, size, one)
                    if share < 0:
                        continue
                    at, inner = low * size, min(high, count) - low
                    keys_product(p + at, inner, few, g + low * N * size, N, dv + (j0 + j) * N * size, size, width, one)
                    keys_product(strip + at, inner, few, q + low * M * size, M, dk + (j0 + j) * M * size, size, width, one)
                if share <= 0:
                    queries_product(ds, rows, j0, i0, count, see, k + j0 * M * size, M, dq, size, width, one)
            if share <= 0:
                to = address(dquery) + ((b * Tq + i0) * H + h) * K * size
                unpack_rows(dq, M, count, K, scale, size, to, H * K * size)
        if share >= 0:
            rows = j_last - j_first
            to = (b * Tk + j_first) * H + h
            unpack_rows(dk + j_first * M * size, M, rows, K, one, size, address(dkey) + to * K * size, H * K * size)
            unpack_rows(dv + j_first * N * size, N, rows, Kv, one, size, address(dvalue) + to * Kv * size, H * Kv * size)


def whole_panels(numbers, dtype):
    """A row's length, filled up to whole panels."""
    return -(-numbers // width_of(dtype)) * width_of(dtype)


def _options(query, value, key_mask, causal, band, scale, dropout, rng):
    """What the kernels take beside the arrays: shape, what query i sees ([i + see[0], i + see[1]]), mask, scale, dropout."""
    B, Tq, H, K = query.shape
    Tk, Kv = value.shape[1], value.shape[3]
    end, reach = Tk - Tq, FAR if band is None else band
    see = (end - reach + 1, end) if causal else (1 - reach, reach - 1)
    threshold, factor = threshold_and_scale(dropout)
    real = query.dtype.type
    drop = words(rng) if dropout else np.zeros(5, np.uint32), np.uint32(threshold), real(factor)
    mask = 0 if key_mask is None else place(key_mask)[0]
    return (B, Tq, Tk, H, K, Kv), see, mask, real(scale), drop


def forward(
    query, key, value, *, causal=False, band=None, key_mask=None, scale=None, dropout=0.0, rng=None, return_weights=False
):
    (B, Tq, H, K), Tk, Kv = query.shape, key.shape[1], value.shape[3]
    y = empty((B, Tq, H, Kv), query.dtype)  # (B, Tq, H, Kv)
    logsumexp = empty((B, H, Tq), query.dtype)  # (B, H, Tq)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng)
    places = tuple(place(a) for a in (query, key, value))
    options = _options(query, value, key_mask, causal, band, scale, dropout, rng)
    work = Tq * Tk * (K + Kv)  # multiply-adds of a head
    if Tq <= FEW:
        devices.parallel(few_forward, B * H, places, *options, logsumexp, y, grain=max(1, WORTH_FEW // max(1, work)))
    else:
        blocks = -(-Tq // QUERIES)
        count, grain = B * H * blocks, max(1, WORTH * blocks // max(1, work))
        N = whole_panels(Kv, y.dtype)
        with scratch():
            numbers = _scratch(Tk * N + QUERIES * (K + 2 * KEYS + N + 4), count, grain, y.dtype)
            devices.parallel(_forward, count, numbers, places, *options, logsumexp, y, grain=grain)
    if not return_weights:
        return y, saved
    weights = empty((B, H, Tq, Tk), query.dtype)  # (B, H, Tq, Tk)
    devices.parallel(weights_of, B * H, places[:2], *options[:-1], logsumexp, weights)
    return Output(y, weights), saved


def backward(dy, saved):
    query, key, value, y, logsumexp, key_mask, causal, band, scale, dropout, rng = saved
    dquery, dkey, dvalue = (empty(a.shape, a.dtype) for a in (query, key, value))
    places = tuple(place(a) for a in (query, key, value, y, dy))
    options = _options(query, value, key_mask, causal, band, scale, dropout, rng)
    (B, H, Tq), Tk, K, Kv = logsumexp.shape, key.shape[1], key.shape[3], value.shape[3]
    heads, work = B * H, Tq * Tk * (K + Kv)  # multiply-adds of a head
    if Tq <= FEW:
        arguments = (places, *options, logsumexp, dquery, dkey, dvalue)
        devices.parallel(few_backward, heads, *arguments, grain=max(1, WORTH_FEW // max(1, 2 * work)))
        return dquery, dkey, dvalue
    M, N = whole_panels(K, y.dtype), whole_panels(Kv, y.dtype)
    wanted = Tk * (2 * M + N) + QUERIES * (K + Kv + 2 * M + N + 2 * KEYS + 2 * ROWS + 2)
    blocks, shares = -(-Tq // QUERIES), -(-Tk // SHARE)
    # where there are fewer heads than threads, two passes are quicker: seven products spread evenly against five that are not
    threads = devices.threads()
    two = 7.3 * heads / threads < 5 * -(-heads // threads)
    for share, units in ((-1, blocks), (SHARE, shares)) if two else ((0, 1),):
        grain = max(1, WORTH * units // max(1, work))
        with scratch():
            numbers = _scratch(wanted, heads * units, grain, y.dtype)
            arguments = (numbers, share, places, *options, logsumexp, dquery, dkey, dvalue)
            devices.parallel(_backward, heads * units, *arguments, grain=grain)
    return dquery, dkey, dvalue
