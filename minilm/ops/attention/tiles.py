"""A tile of scores on the CPU: which part of it is seen, its products, and dropout's factors for it.

A tile lies transposed, KEYS rows (j) by QUERIES columns (i): the running maximum and sum of every query are then vectors, whose
lanes are queries, and nothing is ever summed across a vector. Of a tile, strips of ROWS keys are computed, each for the vectors
of queries that see one of its keys.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops import simd
from minilm.ops.attention.scratch import KEYS, QUERIES
from minilm.ops.memory import number, numbers, panel_width, size_of
from minilm.ops.philox.cpu import fill
from minilm.ops.tile import ROWS, tile_at

# --- what is seen -----------------------------------------------------------------------------------------------------


@jit
def mask_from(task, b, j):
    """Address of the mask from key j of batch row b on, or 0 without one."""
    return task.mask + b * task.Tk + j if task.mask != 0 else 0


@jit
def ends(task, b):
    """Keys [first, last) of batch row b: outside of them the mask leaves none."""
    if task.mask == 0:
        return 0, task.Tk
    may = numbers(mask_from(task, b, 0), task.Tk, np.uint8(0))
    first, last = 0, task.Tk
    while last > 0 and may[last - 1] == 0:
        last -= 1
    while first < last and may[first] == 0:
        first += 1
    return first, last


@jit
def seen(block, first, last, task):
    """Of keys [first, last), those that a query of the block sees."""
    return max(first, block.i + task.see[0]), min(last, block.i + block.count + task.see[1])


@jit
def columns(block, j, rows, task):
    """Columns [low, high) of the block that keys [j, j + rows) need, widened to whole tiles and vectors."""
    lanes = panel_width(task.scale) // 2
    low = max(0, j - task.see[1] - block.i)
    low -= low % ROWS
    low -= low % lanes
    high = max(0, min(block.count, j + rows - task.see[0] - block.i))
    high = -(-high // ROWS) * ROWS
    high = -(-high // lanes) * lanes
    return low, min(high, -(-block.count // lanes) * lanes)


@jit(inline="always")
def row_of(strip, r, low, high, like):
    """Columns [low, high) of row r of a strip."""
    return numbers(strip + (r * QUERIES + low) * size_of(like), high - low, like)


@jit
def hide(strip, block, j, rows, low, high, task, value):
    """Put `value` wherever, in columns [low, high) of a strip, a query does not see a key."""
    mask = mask_from(task, block.b, j)
    if mask == 0 and j + rows - 1 <= task.see[1] + block.i + low and high <= j - task.see[0] - block.i + 1:
        return  # every query sees every key
    for r in range(rows):
        row = numbers(strip + (r * QUERIES + low) * size_of(value), high - low, value)
        if mask != 0 and numbers(mask, rows, np.uint8(0))[r] == 0:
            row[:] = value
        else:  # columns [first, last] see the key
            first, last = j + r - task.see[1] - block.i - low, j + r - task.see[0] - block.i - low
            for c in range(min(len(row), first)):
                row[c] = value
            rest = row[max(0, last + 1) :]
            for c in range(len(rest)):
                rest[c] = value


@jit
def blank(rows, width, count, mask, like):
    """Zeros in those of `count` rows of `width` numbers that the mask hides, which begins with the first; `mask` may be 0."""
    if mask != 0:
        may = numbers(mask, count, np.uint8(0))
        for j in range(count):
            if may[j] == 0:
                numbers(rows + j * width * size_of(like), width, like)[:] = like * 0


# --- softcap ----------------------------------------------------------------------------------------------------------


@jit
def cap(strip, rows, low, high, softcap):
    """Columns [low, high) of a strip of scores: s becomes softcap tanh(s / softcap)."""
    for r in range(rows):
        row = numbers(strip + (r * QUERIES + low) * size_of(softcap), high - low, softcap)
        for c in range(len(row)):
            row[c] = softcap * simd.tanh(row[c] / softcap)


@jit
def slopes(strip, rows, low, high, softcap, out):
    """The derivatives of what `cap` made of the scores, from what it left."""
    one = number(1, softcap)
    for r in range(rows):
        at = (r * QUERIES + low) * size_of(softcap)
        row, slope = numbers(strip + at, high - low, softcap), numbers(out + at, high - low, softcap)
        for c in range(len(row)):
            t = row[c] / softcap
            slope[c] = one - t * t


# --- products ---------------------------------------------------------------------------------------------------------


@jit
def strip_product(a, step, rows, panels, K, low, high, out, like):
    """out (rows, QUERIES) = a (rows, K) by the panels, in the columns [low, high) widened to whole panels."""
    size, width = size_of(like), panel_width(like)
    for p in range(low // width, -(-high // width)):
        b = panels + p * K * width * size
        tile_at(0, a, step, b, width * size, out + p * width * size, QUERIES * size, K, rows, False, like)


@jit
def keys_product(strip, rows, low, high, packed, N, out, like):
    """out (rows, N) += columns [low, high) of a strip (rows, QUERIES) by those rows of packed (QUERIES, N)."""
    size, width = size_of(like), panel_width(like)
    a, b = strip + low * size, packed + low * N * size
    for c in range(0, N * size, width * size):
        tile_at(0, a, QUERIES * size, b + c, N * size, out + c, N * size, high - low, rows, True, like)


@jit
def queries_product(tile, rows, j, block, task, packed, N, out):
    """out (count, N) += a tile's transpose (count, rows), whose keys count from j, by rows [j, j + rows) of packed (Tk, N)."""
    like = task.scale
    size, width = size_of(like), panel_width(like)
    for c in range(0, block.count, ROWS):
        few, i = min(ROWS, block.count - c), block.i + c
        first, last = max(0, i + task.see[0] - j), min(rows, i + few + task.see[1] - j)
        a, b, to = tile + (first * QUERIES + c) * size, packed + (j + first) * N * size, out + c * N * size
        if first < last:
            for n in range(0, N * size, width * size):
                tile_at(1, a, QUERIES * size, b + n, N * size, to + n, N * size, last - first, few, True, like)


# --- dropout ----------------------------------------------------------------------------------------------------------


@jit
def drops(task):
    """Whether anything is dropped: the threshold is 0 where nothing is, and where all is."""
    return task.drop[1] > 0 or task.drop[2] == 0


@jit
def factors(block, j, rows, task, out):
    """Dropout's factors for a tile whose keys count from j: out (rows, QUERIES)."""
    key, threshold, scale = task.drop
    drawn = np.empty((4, KEYS // 4 + 1), np.uint32)
    for c in range(block.count):
        start = ((block.b * task.H + block.h) * task.Tq + block.i + c) * task.Tk + j  # number of the weight in (B, H, Tq, Tk)
        fill(start // 4, key, drawn)
        for r in range(rows):
            place = start % 4 + r
            kept = drawn[place & 3, place >> 2] >= threshold
            numbers(out + r * QUERIES * size_of(scale), QUERIES, scale)[c] = scale if kept else scale * 0


@jit
def multiply_strip(strip, by, rows, low, high, like):
    """Columns [low, high) of a strip times those of another."""
    for r in range(rows):
        at = (r * QUERIES + low) * size_of(like)
        row, other = numbers(strip + at, high - low, like), numbers(by + at, high - low, like)
        for c in range(len(row)):
            row[c] *= other[c]
