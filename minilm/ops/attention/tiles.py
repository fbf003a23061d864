"""A tile of scores on the CPU: which part of it is seen, its products, and dropout's factors for it.

A tile lies transposed, KEYS rows (j) by QUERIES columns (i): the running maximum and sum of every query are then vectors, whose
lanes are queries, and nothing is ever summed across a vector. Of a tile, strips of ROWS keys are computed, each for the vectors
of queries that see one of its keys.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.memory import numbers
from minilm.ops.philox.cpu import fill
from minilm.ops.tile import ROWS, tile_at

QUERIES = 64
KEYS = 64


@jit
def ends(mask, b, Tk):
    """Keys [first, last) of batch row b: outside of them the mask leaves none. `mask` is an address, or 0."""
    if mask == 0:
        return 0, Tk
    may = numbers(mask + b * Tk, Tk, np.uint8(0))
    first, last = 0, Tk
    while last > 0 and may[last - 1] == 0:
        last -= 1
    while first < last and may[first] == 0:
        first += 1
    return first, last


@jit
def columns(j, rows, i, count, see, lanes):
    """Columns [low, high) of the `count` queries from i on that keys [j, j + rows) need, widened to whole tiles and vectors."""
    low = max(0, j - see[1] - i)
    low -= low % ROWS
    low -= low % lanes
    high = max(0, min(count, j + rows - see[0] - i))
    high = -(-high // ROWS) * ROWS
    high = -(-high // lanes) * lanes
    return low, min(high, -(-count // lanes) * lanes)


@jit
def strip_product(a, step, rows, panels, K, low, high, out, size, width, like):
    """out (rows, QUERIES) = a (rows, K) by the panels, in the columns [low, high) widened to whole panels."""
    for p in range(low // width, -(-high // width)):
        b = panels + p * K * width * size
        tile_at(0, a, step, b, width * size, out + p * width * size, QUERIES * size, K, rows, False, like)


@jit
def keys_product(a, count, rows, packed, N, out, size, width, like):
    """out (rows, N) += a (rows, count), rows of QUERIES numbers, by packed (count, N)."""
    for c in range(0, N, width):
        at = c * size
        tile_at(0, a, QUERIES * size, packed + at, N * size, out + at, N * size, count, rows, True, like)


@jit
def queries_product(tile, rows, j, i, count, see, packed, N, out, size, width, like):
    """out (count, N) += the tile's transpose (count, rows) by packed (rows, N); its keys count from j, its queries from i."""
    for c in range(0, count, ROWS):
        few = min(ROWS, count - c)
        first, last = max(0, i + c + see[0] - j), min(rows, i + c + few + see[1] - j)
        a, b, to = tile + (first * QUERIES + c) * size, packed + first * N * size, out + c * N * size
        if first < last:
            for at in range(0, N * size, width * size):
                tile_at(1, a, QUERIES * size, b + at, N * size, to + at, N * size, last - first, few, True, like)


@jit
def hide(strip, j, rows, i, low, high, see, mask, size, value):
    """Put `value` wherever, in columns [low, high) of a strip, a query does not see a key. `mask` begins with key j."""
    for r in range(rows):
        row = numbers(strip + (r * QUERIES + low) * size, high - low, value)
        if mask != 0 and numbers(mask, rows, np.uint8(0))[r] == 0:
            row[:] = value
        else:
            first, last = j + r - see[1] - i - low, j + r - see[0] - i - low  # of the columns that see the key
            for c in range(min(len(row), first)):
                row[c] = value
            rest = row[max(0, last + 1) :]
            for c in range(len(rest)):
                rest[c] = value


@jit
def blank(rows, width, count, mask, size, like):
    """Zeros in those of `count` rows of `width` numbers that the mask hides, which begins with the first; `mask` may be 0."""
    if mask != 0:
        may = numbers(mask, count, np.uint8(0))
        for j in range(count):
            if may[j] == 0:
                numbers(rows + j * width * size, width, like)[:] = like * 0


@jit
def factors(first, Tk, count, rows, drop, drawn, out, size):
    """Dropout's factors for a tile, out (rows, QUERIES): column c begins with weight number first + c Tk."""
    key, threshold, scale = drop
    for c in range(count):
        start = first + c * Tk
        fill(start // 4, key, drawn)
        for r in range(rows):
            at = start % 4 + r
            kept = drawn[at & 3, at >> 2] >= threshold
            numbers(out + r * QUERIES * size, QUERIES, scale)[c] = scale if kept else scale * 0


@jit
def multiply_strip(strip, by, rows, low, high, size, like):
    """Columns [low, high) of a strip times those of another."""
    for r in range(rows):
        at = (r * QUERIES + low) * size
        row, other = numbers(strip + at, high - low, like), numbers(by + at, high - low, like)
        for c in range(len(row)):
            row[c] *= other[c]
