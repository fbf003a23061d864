"""Attention on the CPU with products in bfloat16: what ``minilm.precision("bf16")`` makes of the tiles of cpu.py.

Tiles, steps and their order are those of cpu.py. Both operands of each product are rounded to bfloat16 and multiplied by the
register tile of `minilm.ops.bfloat16.pair_tile`, which sums in float32 and which every processor with AMX has too. Scores, the
softmax, D and all sums stay float32.

========================  =====================  ===========  ==========
product                   rows                   panels       pairs of
========================  =====================  ===========  ==========
S = scale key queryᵀ      key                    queryᵀ       numbers K
o += Pᵀ value             Pᵀ                     value        keys
dP = value dyᵀ            value                  dyᵀ          numbers Kv
dvalue += P dy            P                      dy           queries
dkey += dS query          dS                     query        queries
dquery += dSᵀ key         dSᵀ                    key          keys
========================  =====================  ===========  ==========

Rows, panels and pairs are those of `minilm.ops.bfloat16.operands`. Tiles begin at multiples of KEYS, and so with whole pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.attention import steps
from minilm.ops.attention.scratch import KEYS, QUERIES, at, block_of, own_row, place_of, served, step, unit_of
from minilm.ops.attention.tiles import columns, drops, ends, factors, mask_from, seen
from minilm.ops.bfloat16.operands import (
    BYTES,
    DEPTH,
    LANES,
    WIDTH,
    WORD,
    pack_panels,
    pack_panels_transposed,
    round_row,
    transpose,
)
from minilm.ops.bfloat16.pair_tile import rows_by_panel
from minilm.ops.memory import clear, number, numbers, unpack_rows
from minilm.ops.tile import ROWS

PANEL_ROW = WIDTH * BYTES
HALF = QUERIES // 2 * BYTES  # bytes of a row of a rounded tile; QUERIES = KEYS

# --- scratch: as in scratch.py, words of two numbers among the numbers ------------------------------------------------


class ForwardScratch(NamedTuple):
    """Addresses of what a thread has for its blocks of queries; of a rounded row of K numbers, the words; the width N of o."""

    words: int
    pairs: int  # words of a panel's column where its pairs are of keys
    N: int
    key: int  # (Tk, words) rows
    v: int  # (N / WIDTH, pairs, WIDTH) panels
    q: int  # (QUERIES / WIDTH, words, WIDTH) panels
    S: int  # (KEYS, QUERIES) scores, then weights
    k: int  # (KEYS, QUERIES) dropout's factors
    transposed: int  # (QUERIES, KEYS / 2) rows of Pᵀ
    o: int  # (QUERIES, N)
    m: int  # (QUERIES,)
    l: int  # (QUERIES,)
    shift: int  # (QUERIES,)
    shrink: int  # (QUERIES,)
    end: int


@jit
def forward_scratch(start, size, width, Tk, K, Kv):
    row, N = QUERIES * size, -(-Kv // width) * width
    words, pairs = -(-K // DEPTH) * LANES, -(-Tk // DEPTH) * LANES
    v = start + Tk * words * size
    q = v + N * pairs * size
    S = q + words * row
    k = S + KEYS * row
    transposed = k + KEYS * row
    o = transposed + KEYS // 2 * row
    m = o + N * row
    return ForwardScratch(words, pairs, N, start, v, q, S, k, transposed, o, m, m + row, m + 2 * row, m + 3 * row, m + 4 * row)


class BackwardScratch(NamedTuple):
    """The same for the gradients of a head."""

    words: int
    value_words: int
    pairs: int
    M: int
    N: int
    key: int  # (Tk, words) rows
    value: int  # (Tk, value_words) rows
    key_panels: int  # (M / WIDTH, pairs, WIDTH)
    dkey: int  # (Tk, M)
    dvalue: int  # (Tk, N)
    dquery: int  # (QUERIES, M)
    query_panels: int  # (QUERIES / WIDTH, words, WIDTH) of the transpose
    dy_panels: int  # (QUERIES / WIDTH, value_words, WIDTH) of the transpose
    query: int  # (M / WIDTH, QUERIES / 2, WIDTH) panels
    dy: int  # (N / WIDTH, QUERIES / 2, WIDTH) panels
    dS: int  # (KEYS, QUERIES)
    k: int  # (KEYS, QUERIES) dropout's factors
    transposed: int  # (QUERIES, KEYS / 2) rows of dSᵀ
    P: int  # (ROWS, QUERIES) weights of a strip
    dP: int  # (ROWS, QUERIES)
    slope: int  # (ROWS, QUERIES) of the softcap
    strip: int  # (ROWS, QUERIES / 2) rows of P or dS
    shift: int  # (QUERIES,)
    D: int  # (QUERIES,)
    end: int


@jit
def backward_scratch(start, size, width, Tk, K, Kv):
    row, M, N = QUERIES * size, -(-K // width) * width, -(-Kv // width) * width
    words, value_words, pairs = -(-K // DEPTH) * LANES, -(-Kv // DEPTH) * LANES, -(-Tk // DEPTH) * LANES
    value = start + Tk * words * size
    key_panels = value + Tk * value_words * size
    dkey = key_panels + M * pairs * size
    dvalue = dkey + Tk * M * size
    dquery = dvalue + Tk * N * size
    query_panels = dquery + M * row
    dy_panels = query_panels + words * row
    query = dy_panels + value_words * row
    dy = query + M * row // 2
    dS = dy + N * row // 2
    k = dS + KEYS * row
    transposed = k + KEYS * row
    P = transposed + KEYS // 2 * row
    dP = P + ROWS * row
    slope = dP + ROWS * row
    strip = slope + ROWS * row
    shift = strip + ROWS * row // 2
    parts = dkey, dvalue, dquery, query_panels, dy_panels, query, dy, dS, k, transposed, P, dP, slope, strip, shift, shift + row
    return BackwardScratch(words, value_words, pairs, M, N, start, value, key_panels, *parts, shift + 2 * row)


# --- operands ---------------------------------------------------------------------------------------------------------


@jit
def _whole(first):
    """The number of the key that the tile of key `first` begins with."""
    return first - first % KEYS


@jit
def _round_rows(x, b, h, first, last, K, words, rows):
    """Keys or values [first, last) of a head, as rows."""
    for j in range(first, last):
        round_row(at(x, b, j, h), K, rows + j * words * BYTES)


@jit
def _pack_keys(x, b, h, first, last, K, pairs, panels, task):
    """Keys or values [first, last) of a head, as panels of pairs of keys; zeros where the mask hides one."""
    panel_step = pairs * PANEL_ROW
    pack_panels(at(x, b, first, h), step(x), last - first, K, panels + first // 2 * PANEL_ROW, panel_step)
    if task.mask != 0:
        may = numbers(mask_from(task, b, 0), task.Tk, np.uint8(0))
        for j in range(first, last):
            others = np.uint32(0x0000FFFF if j % 2 else 0xFFFF0000) if may[j] == 0 else np.uint32(0xFFFFFFFF)
            for p in range(-(-K // WIDTH)):
                row = numbers(panels + p * panel_step + j // 2 * PANEL_ROW, WIDTH, WORD)
                for c in range(WIDTH):
                    row[c] &= others


@jit
def _round_transpose(tile, count, queries, transposed):
    """Of a tile (KEYS, QUERIES) with `count` keys, rows (QUERIES, KEYS / 2) of its transpose."""
    if count % 2:  # of the last pair
        clear(tile + count * QUERIES * BYTES, QUERIES, np.float32(0))
    for r in range(0, count, DEPTH):
        for c in range(0, queries, LANES):
            transpose(0, tile + (r * QUERIES + c) * BYTES, QUERIES * BYTES, transposed + c * HALF + r // 2 * BYTES, HALF)


# --- products ---------------------------------------------------------------------------------------------------------


@jit
def _strip_product(rows, words, few, panels, low, high, out):
    """out (few, QUERIES) = rows by panels, in the columns [low, high) widened to whole panels."""
    for p in range(low // WIDTH, -(-high // WIDTH)):
        panel = panels + p * words * PANEL_ROW
        rows_by_panel(rows, words * BYTES, few, panel, out + p * PANEL_ROW, QUERIES * BYTES, words, False)


@jit
def _add_product(rows, count, panels, panel_step, words, N, out):
    """out (count, N) += rows, of a rounded tile, by panels."""
    for p in range(N // WIDTH if words > 0 else 0):
        rows_by_panel(rows, HALF, count, panels + p * panel_step, out + p * PANEL_ROW, N * BYTES, words, True)


@jit
def _keys_product(strip, rounded, few, low, high, panels, N, out):
    """out (few, N) += columns [low, high) of a strip (few, QUERIES) by panels of pairs of queries."""
    for r in range(few):
        round_row(strip + r * QUERIES * BYTES, QUERIES, rounded + r * HALF)
    first = low // 2
    _add_product(rounded + first * BYTES, few, panels + first * PANEL_ROW, HALF * WIDTH, (high - low) // 2, N, out)


@jit
def _queries_product(transposed, count, j, block, task, panels, pairs, N, out):
    """out (queries, N) += the transpose of a tile, whose `count` keys count from j, by panels of pairs of keys."""
    for c in range(0, block.count, ROWS):
        few, i = min(ROWS, block.count - c), block.i + c
        first, last = max(0, i + task.see[0] - j) // 2, -(-min(count, i + few + task.see[1] - j) // 2)  # words
        rows, panel = transposed + c * HALF + first * BYTES, panels + (j // 2 + first) * PANEL_ROW
        _add_product(rows, few, panel, pairs * PANEL_ROW, last - first, N, out + c * N * BYTES)


# --- forward ----------------------------------------------------------------------------------------------------------


@jit
def forward(start, stop, rows, query, key, value, y, task, logsumexp):
    # units [start, stop), each a block of queries of a head: y (B, Tq, H, Kv), logsumexp (B, H, Tq)
    units, head = logsumexp.shape[0] * task.H * -(-task.Tq // QUERIES), -1
    w = forward_scratch(own_row(rows, start, units), BYTES, WIDTH, task.Tk, task.K, task.Kv)
    for unit in range(start, stop):
        block = unit_of(unit, task)
        first, last = ends(task, block.b)
        first, g = _whole(first), served(block, task)
        if block.b * task.H + g != head:
            head = block.b * task.H + g
            _round_rows(key, block.b, g, first, last, task.K, w.words, w.key)
            _pack_keys(value, block.b, g, first, last, task.Kv, w.pairs, w.v, task)
        queries = at(query, block.b, block.i, block.h)
        pack_panels_transposed(queries, step(query), task.K, block.count, w.q, w.words * PANEL_ROW)
        steps.reset(w, task)
        begin, end = seen(block, first, last, task)
        for j in range(_whole(begin), end, KEYS):
            count = min(KEYS, end - j)
            _scores(w, block, j, count, task)
            steps.shrink(w, block.count if j > begin else 0, task)
            steps.exponentials(w, block, j, count, task)
            _round_transpose(w.S, count, block.count, w.transposed)
            _queries_product(w.transposed, count, j, block, task, w.v, w.pairs, w.N, w.o)
        steps.finish(w, y, block, task, logsumexp[block.b, block.h])


@jit
def _scores(w, block, j, count, task):
    """`steps.scores`, of rounded keys and queries."""
    steps.keep_largest(w, task)
    for r in range(0, count, ROWS):
        few, strip = min(ROWS, count - r), w.S + r * QUERIES * BYTES
        low, high = columns(block, j + r, few, task)
        _strip_product(w.key + (j + r) * w.words * BYTES, w.words, few, w.q, low, high, strip)
        _scale(strip, few, low, high, task.scale)
        steps.strip_scores(w, strip, block, j + r, few, low, high, task)


@jit
def _scale(strip, few, low, high, scale):
    for r in range(few):
        row = numbers(strip + (r * QUERIES + low) * BYTES, high - low, scale)
        for c in range(len(row)):
            row[c] *= scale


# --- backward ---------------------------------------------------------------------------------------------------------


@jit
def backward(start, stop, rows, inputs, gradients, task, logsumexp):
    # heads of keys and values [start, stop) of all batch rows: all three gradients
    _, key, value, _, _ = inputs
    one, units = number(1, task.scale), logsumexp.shape[0] * task.H // task.share
    w = backward_scratch(own_row(rows, start, units), BYTES, WIDTH, task.Tk, task.K, task.Kv)
    clear(w.k, KEYS * QUERIES, one)  # columns that no query has are multiplied by the zeros of panels: they must be finite
    for n in range(start * task.share, stop * task.share):
        b, g = n // task.H, n % task.H // task.share
        first, last = ends(task, b)
        first = _whole(first)
        if n % task.share == 0:
            _round_rows(key, b, g, first, last, task.K, w.words, w.key)
            _round_rows(value, b, g, first, last, task.Kv, w.value_words, w.value)
            _pack_keys(key, b, g, first, last, task.K, w.pairs, w.key_panels, task)
            clear(w.dkey, task.Tk * w.M, one)
            clear(w.dvalue, task.Tk * w.N, one)
        for part in range(-(-task.Tq // QUERIES)):
            _block(w, inputs, gradients, block_of(n, part, task), first, last, task, logsumexp)
        if (n + 1) % task.share == 0:
            dkey, dvalue = place_of(gradients[1]), place_of(gradients[2])
            unpack_rows(w.dkey, w.M, task.Tk, task.K, task.scale, at(dkey, b, 0, g), step(dkey))
            unpack_rows(w.dvalue, w.N, task.Tk, task.Kv, one, at(dvalue, b, 0, g), step(dvalue))


@jit
def _block(w, inputs, gradients, block, first, last, task, logsumexp):
    """A block of queries and keys [first, last): its dquery, and what it adds to dkey and dvalue."""
    query, _, _, y, dy = inputs
    _load_queries(w, query, dy, block, task)
    steps.load_sums(w, y, dy, block, task, logsumexp[block.b, block.h])
    clear(w.dquery, QUERIES * w.M, number(1, task.scale))
    begin, end = seen(block, first, last, task)
    for j in range(_whole(begin), end, KEYS):
        count = min(KEYS, end - j)
        if drops(task):
            factors(block, j, count, task, w.k)
        for r in range(0, count, ROWS):
            few, strip = min(ROWS, count - r), r * QUERIES * BYTES
            low, high = columns(block, j + r, few, task)
            _strip_product(w.key + (j + r) * w.words * BYTES, w.words, few, w.query_panels, low, high, w.P)
            _scale(w.P, few, low, high, task.scale)
            _strip_product(w.value + (j + r) * w.value_words * BYTES, w.value_words, few, w.dy_panels, low, high, w.dP)
            steps.score_gradients(w, w.k + strip, w.dS + strip, block, j + r, few, low, high, task)
            _keys_product(w.P, w.strip, few, low, high, w.dy, w.N, w.dvalue + (j + r) * w.N * BYTES)
            _keys_product(w.dS + strip, w.strip, few, low, high, w.query, w.M, w.dkey + (j + r) * w.M * BYTES)
        _round_transpose(w.dS, count, block.count, w.transposed)
        _queries_product(w.transposed, count, j, block, task, w.key_panels, w.pairs, w.M, w.dquery)
    dquery = place_of(gradients[0])
    to = at(dquery, block.b, block.i, block.h)
    unpack_rows(w.dquery, w.M, block.count, task.K, task.scale, to, step(dquery))


@jit
def _load_queries(w, query, dy, block, task):
    """The block's queries and dy, as panels of pairs of queries and, of their transposes, of pairs of numbers."""
    queries, gradients = at(query, block.b, block.i, block.h), at(dy, block.b, block.i, block.h)
    pack_panels_transposed(queries, step(query), task.K, block.count, w.query_panels, w.words * PANEL_ROW)
    pack_panels_transposed(gradients, step(dy), task.Kv, block.count, w.dy_panels, w.value_words * PANEL_ROW)
    pack_panels(queries, step(query), block.count, task.K, w.query, HALF * WIDTH)
    pack_panels(gradients, step(dy), block.count, task.Kv, w.dy, HALF * WIDTH)


# --- weights ----------------------------------------------------------------------------------------------------------


def nearest(x: np.ndarray) -> np.ndarray:
    """float32 numbers, rounded to bfloat16 as products round them, in float32."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    upper = (bits + (0x7FFF + (bits >> 16 & 1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, upper.view(np.float32))
