"""What the CPU's kernels of attention are told, and where each thread computes: named tuples of numbers and addresses.

A kernel that takes addresses in the place of arrays is compiled once for all layouts, and counts no references in inner loops. An
array (B, T, H, K) is its `minilm.ops.memory.place`: its address, and the bytes to the next batch row, position and head.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.dropout.spec import threshold_and_scale
from minilm.ops.memory import address, place
from minilm.ops.philox.spec import words
from minilm.ops.tile import ROWS, width_of
from minilm.ops.workspace import empty

QUERIES = 64  # of a tile
KEYS = 64
FAR = 2**62
NO_KEY = np.zeros(5, np.uint32)  # of dropout, where nothing is dropped
SPARE = 16  # numbers, for the scratch to begin where a vector may; its parts are whole vectors


class Task(NamedTuple):
    """What is computed, but for the arrays."""

    Tq: int
    Tk: int
    H: int
    share: int  # heads of queries that read one head of keys and values
    K: int
    Kv: int
    see: tuple[int, int]  # query i sees keys [i + see[0], i + see[1]]
    mask: int  # address of key_mask (B, Tk), or 0
    scale: np.floating
    softcap: np.floating  # of the scores; 0 without one
    drop: tuple  # dropout's key (5,), threshold and scale


class Block(NamedTuple):
    """Up to QUERIES queries of a head, from number i on."""

    b: int
    h: int
    i: int
    count: int


@jit
def at(place, b, t, h):
    """Address of position t of head h in batch row b of an array (B, T, H, K)."""
    start, batch, row, head = place
    return start + b * batch + t * row + h * head


@jit
def served(block, task):
    """The head of keys and values that the block's queries read."""
    return block.h // task.share


@jit
def step(place):
    """Bytes from a position to the next."""
    return place[2]


@jit
def block_of(number, part, task):
    """Block `part` of head `number`, counted through all batch rows."""
    i = part * QUERIES
    return Block(number // task.H, number % task.H, i, min(QUERIES, task.Tq - i))


def task_of(query, value, key_mask, causal, band, scale, softcap, dropout, rng) -> Task:
    """From the arguments of the op."""
    (_, Tq, H, K), (_, Tk, G, Kv), real = query.shape, value.shape, query.dtype.type
    end, reach = Tk - Tq, FAR if band is None else band
    see = (end - reach + 1, end) if causal else (1 - reach, reach - 1)
    drop = NO_KEY, np.uint32(0), real(1)
    if dropout:
        threshold, factor = threshold_and_scale(dropout)
        drop = words(rng), np.uint32(threshold), real(factor)
    mask = 0 if key_mask is None else place(key_mask)[0]
    return Task(Tq, Tk, H, max(1, H // max(1, G)), K, Kv, see, mask, real(scale), real(softcap or 0), drop)


# --- scratch ----------------------------------------------------------------------------------------------------------


class ForwardScratch(NamedTuple):
    """Addresses of what a thread has for its blocks of queries, and the width N of a packed value: Kv in whole panels."""

    N: int
    v: int  # (Tk, N) values of a head
    q: int  # (QUERIES, K) queries times the scale, in panels of their transpose
    S: int  # (KEYS, QUERIES) scores, then weights
    Z: int  # (KEYS, QUERIES) dropout's factors
    o: int  # (QUERIES, N) sum of exp(S - m) times values so far
    m: int  # (QUERIES,) largest score so far
    l: int  # (QUERIES,) sum of exp(S - m) so far
    shift: int  # (QUERIES,) m, or 0 where that is -inf
    shrink: int  # (QUERIES,) what l and o are multiplied by where a tile has a larger score
    end: int


@jit
def forward_scratch(start, size, width, Tk, K, Kv):
    """The parts from address `start` on, of numbers of `size` bytes, `width` of which are a panel's row."""
    row, N = QUERIES * size, -(-Kv // width) * width
    v = start
    q = v + Tk * N * size
    S = q + K * row
    Z = S + KEYS * row
    o = Z + KEYS * row
    m = o + N * row
    return ForwardScratch(N, v, q, S, Z, o, m, m + row, m + 2 * row, m + 3 * row, m + 4 * row)


class BackwardScratch(NamedTuple):
    """Addresses of what a thread has for the gradients of a head, and the widths M, N of packed keys and values."""

    M: int
    N: int
    key: int  # (Tk, M) keys
    dkey: int  # (Tk, M)
    dvalue: int  # (Tk, N)
    query: int  # (QUERIES, M) queries times the scale
    dquery: int  # (QUERIES, M)
    dy: int  # (QUERIES, N)
    query_panels: int  # (QUERIES, K) `query` in panels of its transpose
    dy_panels: int  # (QUERIES, Kv) `dy` likewise
    dS: int  # (KEYS, QUERIES)
    Z: int  # (KEYS, QUERIES) dropout's factors
    P: int  # (ROWS, QUERIES) weights of a strip
    dP: int  # (ROWS, QUERIES)
    slope: int  # (ROWS, QUERIES) of the softcap
    shift: int  # (QUERIES,) logsumexp, or 0 where that is -inf
    D: int  # (QUERIES,)
    end: int


@jit
def backward_scratch(start, size, width, Tk, K, Kv):
    """The parts, as in `forward_scratch`."""
    row, M, N = QUERIES * size, -(-K // width) * width, -(-Kv // width) * width
    key = start
    dkey = key + Tk * M * size
    dvalue = dkey + Tk * M * size
    query = dvalue + Tk * N * size
    dquery = query + M * row
    dy = dquery + M * row
    query_panels = dy + N * row
    dy_panels = query_panels + K * row
    dS = dy_panels + Kv * row
    Z = dS + KEYS * row
    P = Z + KEYS * row
    dP = P + ROWS * row
    slope = dP + ROWS * row
    shift = slope + ROWS * row
    D = shift + row
    return BackwardScratch(
        M, N, key, dkey, dvalue, query, dquery, dy, query_panels, dy_panels, dS, Z, P, dP, slope, shift, D, D + row
    )


@functools.lru_cache(maxsize=1024)
def _length(layout, width, Tk, K, Kv):
    """Numbers of a thread's row: where the last part ends, if the first begins at 0 and a number has 1 byte."""
    return -(-layout.py_func(0, 1, width, Tk, K, Kv).end // SPARE) * SPARE + SPARE


def rows_of_scratch(layout, task, number, dtype):
    """`number` rows, one for each part of a call, to be divided by `layout`."""
    return empty((number, _length(layout, width_of(dtype), task.Tk, task.K, task.Kv)), dtype)


@jit
def own_row(scratch, start, count):
    """Address of the row that belongs to the thread whose part of `count` units begins with `start`."""
    parts, width = scratch.shape
    row = address(scratch) + -(-start * parts // max(1, count)) * width * scratch.itemsize
    return row + -row % (4 * SPARE)
