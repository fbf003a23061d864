"""What tiled attention on the CPU does with one tile of scores: the lines of the formulas, as loops over vectors.

`w` is the thread's scratch, of whose parts the shapes stand in scratch.py; j counts keys, and the columns of a tile are queries.
"""

from __future__ import annotations

import math

import numpy as np

from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd
from minilm.ops.attention.scratch import QUERIES, at, served, step
from minilm.ops.attention.tiles import (
    blank,
    cap,
    columns,
    drops,
    factors,
    hide,
    mask_from,
    multiply_strip,
    row_of,
    slopes,
    strip_product,
)
from minilm.ops.memory import clear, number, numbers, pack_rows, pack_transposed, size_of
from minilm.ops.tile import ROWS

# --- forward ----------------------------------------------------------------------------------------------------------


@jit
def begin(w, query, block, task):
    """The block's queries, m = -inf, and l = o = 0."""
    one = number(1, task.scale)
    pack_transposed(at(query, block.b, block.i, block.h), step(query), block.count, task.K, task.scale, w.q)
    clear(w.l, QUERIES, one)
    clear(w.o, QUERIES * w.N, one)
    m = numbers(w.m, QUERIES, one)
    for c in range(QUERIES):
        m[c] = -np.inf


@jit(part=True, counted=False)
def _raise_to(largest, row, other):
    """largest = the largest of itself and two rows, NaN left out.

    Of one row a compiler makes, for AVX2, a comparison and a store under its mask, which took an AMD EPYC (Zen 3) seven times as
    long.
    """
    for c in range(len(largest)):
        a, b, m = row[c], other[c], largest[c]
        m = a if a > m else m
        largest[c] = b if b > m else m


@jit(part=True, counted=False)
def _exponentials(row, other, shift, l):
    """Two rows of S = exp(S - m), which are added to l one after the other.

    The instructions of an exponential wait for one another, and a processor looks no further ahead than a few dozen: by two rows
    at a time an AMD EPYC (Zen 3) took 15 cycles a vector, and row by row 27.
    """
    for c in range(len(row)):
        e, f = simd.exp(row[c] - shift[c]), simd.exp(other[c] - shift[c])
        row[c], other[c] = e, f
        l[c] = (l[c] + e) + f


@jit(fastmath=REASSOC, part=True)
def scores(w, key, block, j, count, task):
    """S of `count` keys from number j on, -inf where one is not seen; m = the largest so far, and shrink what it was."""
    size, minus = size_of(task.scale), number(-np.inf, task.scale)
    m, before = numbers(w.m, QUERIES, minus), numbers(w.shrink, QUERIES, minus)
    for c in range(QUERIES):
        before[c] = m[c]
    for r in range(0, count, ROWS):
        few, strip = min(ROWS, count - r), w.S + r * QUERIES * size
        low, high = columns(block, j + r, few, task)
        keys = at(key, block.b, j + r, served(block, task))
        strip_product(keys, step(key), few, w.q, task.K, low, high, strip, minus)
        if task.softcap > 0:
            cap(strip, few, low, high, task.softcap)
        hide(strip, block, j + r, few, low, high, task, minus)
        largest = numbers(w.m + low * size, high - low, minus)
        for i in range(0, few, 2):
            _raise_to(largest, row_of(strip, i, low, high, minus), row_of(strip, min(i + 1, few - 1), low, high, minus))


@jit(fastmath=REASSOC, part=True)
def shrink(w, count, task):
    """After a larger score: l and `count` rows of o times exp(m before - m)."""
    zero, size = number(0, task.scale), size_of(task.scale)
    m, shift = numbers(w.m, QUERIES, zero), numbers(w.shift, QUERIES, zero)
    by, l = numbers(w.shrink, QUERIES, zero), numbers(w.l, QUERIES, zero)
    for c in range(QUERIES):
        shift[c] = zero if m[c] == -np.inf else m[c]
        by[c] = simd.exp(by[c] - shift[c])
        l[c] *= by[c]
    for c in range(count):
        row = numbers(w.o + c * w.N * size, w.N, zero)
        for d in range(w.N):
            row[d] *= by[c]


@jit(fastmath=REASSOC, part=True)
def exponentials(w, block, j, count, task):
    """S = exp(S - m) of `count` keys, l += their sum over these keys; then times dropout's factors."""
    size, one, dropping = size_of(task.scale), number(1, task.scale), drops(task)
    if dropping:
        factors(block, j, count, task, w.Z)
    for r in range(0, count, ROWS):
        few, strip = min(ROWS, count - r), w.S + r * QUERIES * size
        low, high = columns(block, j + r, few, task)
        l, shift = numbers(w.l + low * size, high - low, one), numbers(w.shift + low * size, high - low, one)
        for i in range(0, few - 1, 2):
            _exponentials(row_of(strip, i, low, high, one), row_of(strip, i + 1, low, high, one), shift, l)
        if few % 2:
            row = row_of(strip, few - 1, low, high, one)
            for c in range(len(row)):
                e = simd.exp(row[c] - shift[c])
                row[c] = e
                l[c] += e
        if dropping:
            multiply_strip(strip, w.Z + r * QUERIES * size, few, low, high, one)


@jit(fastmath=REASSOC, part=True)
def finish(w, y, block, task, logsumexp):
    """The block's rows of y = o / l, and its logsumexp = m + log l; logsumexp (Tq,)."""
    one, size = number(1, task.scale), size_of(task.scale)
    l, shift = numbers(w.l, QUERIES, one), numbers(w.shift, QUERIES, one)
    for c in range(block.count):
        r = number(0, one) if l[c] == 0 else one / l[c]
        row, out = numbers(w.o + c * w.N * size, task.Kv, one), y[block.b, block.i + c, block.h]
        for d in range(task.Kv):
            out[d] = row[d] * r
        logsumexp[block.i + c] = shift[c] + math.log(l[c])


# --- backward ---------------------------------------------------------------------------------------------------------


@jit(fastmath=REASSOC, part=True)
def load_queries(w, query, y, dy, block, task, logsumexp):
    """The block's queries and dy, as rows and as panels; of each query D = dy · y, and what to subtract from its scores."""
    one, count = number(1, task.scale), block.count
    queries, gradients = at(query, block.b, block.i, block.h), at(dy, block.b, block.i, block.h)
    pack_transposed(queries, step(query), count, task.K, task.scale, w.query_panels)
    pack_rows(queries, step(query), count, task.K, task.scale, w.M, w.query)
    pack_transposed(gradients, step(dy), count, task.Kv, one, w.dy_panels)
    pack_rows(gradients, step(dy), count, task.Kv, one, w.N, w.dy)
    clear(w.shift, QUERIES, one)
    clear(w.D, QUERIES, one)
    shift, D = numbers(w.shift, QUERIES, one), numbers(w.D, QUERIES, one)
    for c in range(count):
        row = numbers(gradients + c * step(dy), task.Kv, one)
        out = numbers(at(y, block.b, block.i + c, block.h), task.Kv, one)
        total = number(0, one)
        for d in range(task.Kv):
            total += row[d] * out[d]
        D[c] = total
        if logsumexp[block.i + c] != -np.inf:
            shift[c] = logsumexp[block.i + c]


@jit(part=True, counted=False)
def _gradients(P, dP, out, P2, dP2, out2, shift, D):
    """Two rows of P = exp(S - logsumexp), where S was, and of dS = P (dP - D); see `_exponentials`."""
    for c in range(len(P)):
        e, f = simd.exp(P[c] - shift[c]), simd.exp(P2[c] - shift[c])
        P[c], P2[c] = e, f
        out[c], out2[c] = e * (dP[c] - D[c]), f * (dP2[c] - D[c])


@jit(fastmath=REASSOC, part=True)
def strip_gradients(w, key, value, dS, k, block, j, few, low, high, task):
    """Of `few` keys from number j on: P k, and dS = P (k dP - D), in columns [low, high); addresses of k and dS."""
    one, size, minus = number(1, task.scale), size_of(task.scale), number(-np.inf, task.scale)
    keys, values = at(key, block.b, j, served(block, task)), at(value, block.b, j, served(block, task))
    strip_product(keys, step(key), few, w.query_panels, task.K, low, high, w.P, one)
    strip_product(values, step(value), few, w.dy_panels, task.Kv, low, high, w.dP, one)
    if task.softcap > 0:
        cap(w.P, few, low, high, task.softcap)
        slopes(w.P, few, low, high, task.softcap, w.slope)
        blank(w.slope, QUERIES, few, mask_from(task, block.b, j), one)
    hide(w.P, block, j, few, low, high, task, minus)
    blank(w.dP, QUERIES, few, mask_from(task, block.b, j), one)
    if drops(task):
        multiply_strip(w.dP, k, few, low, high, one)
    shift, D = numbers(w.shift + low * size, high - low, one), numbers(w.D + low * size, high - low, one)
    for r in range(0, few, 2):
        i = min(r + 1, few - 1)
        P, dP, out = row_of(w.P, r, low, high, one), row_of(w.dP, r, low, high, one), row_of(dS, r, low, high, one)
        other = row_of(w.P, i, low, high, one), row_of(w.dP, i, low, high, one), row_of(dS, i, low, high, one)
        _gradients(P, dP, out, *other, shift, D)
    if task.softcap > 0:
        multiply_strip(dS, w.slope, few, low, high, one)
    if drops(task):
        multiply_strip(w.P, k, few, low, high, one)
