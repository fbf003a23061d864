"""Byte-pair merges: of the neighbouring pairs with a rank the one of lowest rank becomes one symbol, until no pair has a rank.

With ranks r(a, b), for symbols s_1 ... s_n ::

    while some (s_i, s_i+1) has a rank:
        i = the leftmost of those with the lowest rank
        replace s_i, s_i+1 by the symbol of that rank

Short sequences (n <= SHORT) keep the ranks of all their pairs in registers, where the lowest is one instruction or a few, and
which symbols are left in the bits of one word; long ones keep the candidates in a heap, so that n symbols take O(n log n) steps
whatever they are.

References
----------
R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016, algorithm 1.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import leading_zeros, trailing_zeros
from minilm.tokenizers.bpe.lanes import load_lanes, lowest, replaced
from minilm.tokenizers.bpe.pair_ranks import NO_RANK, NO_SYMBOL, rank_of

SHORT = 62  # symbols: with one more before and one behind them, a bit each in a word of 64
LANE_BITS = 6  # of a pair's place; with a rank they fit into 31 bits
NO_KEY = NO_RANK << LANE_BITS  # no key of a pair that has a rank is as large
SYMBOLS, KEYS = range(2)  # rows of the scratch of a short sequence
_LANE = (1 << LANE_BITS) - 1
_NONE = np.int64(NO_RANK)
_ONE = np.uint64(1)


def make_scratch() -> np.ndarray:
    """Room of one thread for a short sequence, (2, 66) int32: its symbols from column 1 on, and keys of its pairs from 0 on."""
    return np.empty((2, SHORT + 4), np.int32)


def work_size(n: int) -> int:
    """Words of room that `merge_long` needs for n symbols: a merge takes one pair out of the heap and puts in two at most."""
    return 6 * n + 1


@jit(part=True, counted=False)
def _merge_lanes(keys, scratch, n, merges):
    """Merge scratch[SYMBOLS, 1 : n + 1], the keys of whose pairs are in lanes 0 ... n - 2; returns a bit for each that is left.

    A key is rank * 2**LANE_BITS + lane, so the lowest is the leftmost of the lowest rank. Bit p of `left` stands for column p; a
    symbol that has no rank with any other stands before and behind all, so that none of the steps asks for a border.
    """
    scratch[SYMBOLS, 0] = scratch[SYMBOLS, n + 1] = NO_SYMBOL
    left = (_ONE << np.uint64(n + 2)) - _ONE
    while True:
        key = lowest(keys)
        if key >= NO_KEY:
            return left & (_ONE << np.uint64(n + 1)) - np.uint64(2)
        first = (key & _LANE) + 1
        symbol = merges.merged[np.uint64(key >> LANE_BITS)]
        behind = ~np.uint64(1) << np.uint64(first)
        second = np.int64(trailing_zeros(left & behind))
        left ^= _ONE << np.uint64(second)
        third = trailing_zeros(left & behind)
        before = 63 - leading_zeros(left & (_ONE << np.uint64(first)) - _ONE)
        rank_behind = rank_of(merges, symbol, scratch[SYMBOLS, third])
        rank_before = rank_of(merges, scratch[SYMBOLS, np.uint64(before)], symbol)
        scratch[SYMBOLS, np.uint64(first)] = symbol
        keys = replaced(keys, second - 1, NO_KEY)
        keys = replaced(keys, first - 1, rank_behind << LANE_BITS | first - 1)
        keys = replaced(keys, before - 1, rank_before << LANE_BITS | before - 1)


@jit(part=True, counted=False)
def merge_keyed(scratch, n, merges, out, count):
    """Merge scratch[SYMBOLS, 1 : n + 1], 0 < n <= SHORT, into out[count:]; returns how many symbols are left.

    scratch[KEYS, i], i < n - 1, is the key of pair i, and NO_KEY or more up to the next multiple of 16.
    """
    if n <= 17:
        left = _merge_lanes(load_lanes(scratch, KEYS, 16), scratch, n, merges)
    elif n <= 33:
        left = _merge_lanes(load_lanes(scratch, KEYS, 32), scratch, n, merges)
    else:
        left = _merge_lanes(load_lanes(scratch, KEYS, 64), scratch, n, merges)
    k = 0
    while left:
        out[count + k] = scratch[SYMBOLS, trailing_zeros(left)]
        left &= left - _ONE
        k += 1
    return k


@jit(part=True, counted=False)
def merge_short(symbols, begin, n, merges, scratch, out, count):
    """Merge symbols[begin : begin + n], 0 < n <= SHORT, into out[count:]; returns how many are left."""
    for i in range(n):
        scratch[SYMBOLS, i + 1] = symbols[begin + i]
    for i in range(64):
        scratch[KEYS, i] = NO_KEY
    for i in range(n - 1):
        scratch[KEYS, i] = rank_of(merges, symbols[begin + i], symbols[begin + i + 1]) << LANE_BITS | i
    return merge_keyed(scratch, n, merges, out, count)


@jit(part=True, counted=False)
def _renew(work, merges, ranks, heap, size, left, right):
    """Look up the pair of two places again (right -1: none is there), and put it on the heap if it has a rank."""
    rank = rank_of(merges, work[left], work[right]) if right >= 0 else _NONE
    work[ranks + left] = rank
    if rank < _NONE:
        key, place = rank << 32 | left, size
        while place > 0 and work[heap + (place - 1) // 4] > key:
            work[heap + place] = work[heap + (place - 1) // 4]
            place = (place - 1) // 4
        work[heap + place] = key
        size += 1
    return size


@jit(part=True, counted=False)
def _sift_down(work, heap, size, place, key):
    """Put `key` at or below `place`, where its children (four of them, from 4 * place + 1 on) are no smaller."""
    while True:
        child = 4 * place + 1
        if child >= size:
            break
        least = child
        for other in range(child + 1, min(child + 4, size)):
            if work[heap + other] < work[heap + least]:
                least = other
        if work[heap + least] >= key:
            break
        work[heap + place] = work[heap + least]
        place = least
    work[heap + place] = key


@jit(counted=False)
def merge_long(work, n, merges):
    """Merge a long sequence in place.

    Parameters
    ----------
    work : (>= work_size(n),) int64
        Symbols in work[:n], and room: neighbours, ranks and the heap. The heap holds rank and place of pairs; none is taken
        out when its pair goes, and the ranks tell which still hold.
    n : int
    merges : Merges

    Returns
    -------
    n : int
        How many symbols remain.
    """
    following, before, ranks, heap = n, 2 * n, 3 * n + 1, 4 * n + 1  # where each begins
    size = 0
    for i in range(n):
        work[following + i] = i + 1
        work[before + i + 1] = i
        rank = rank_of(merges, work[i], work[i + 1]) if i + 1 < n else _NONE
        work[ranks + i] = rank
        if rank < _NONE:
            work[heap + size] = rank << 32 | i
            size += 1
    for place in range((size - 2) // 4, -1, -1):
        _sift_down(work, heap, size, place, work[heap + place])
    while size > 0:
        lowest = work[heap]
        size -= 1
        if size > 0:
            _sift_down(work, heap, size, 0, work[heap + size])
        i, rank = lowest & 0xFFFFFFFF, lowest >> 32
        if work[ranks + i] != rank:
            continue
        second = work[following + i]
        third = work[following + second]
        work[i] = merges.merged[rank]
        work[following + i] = third
        work[before + third] = i
        work[ranks + second] = _NONE
        size = _renew(work, merges, ranks, heap, size, i, third if third < n else -1)
        if i > 0:
            size = _renew(work, merges, ranks, heap, size, work[before + i], i)
    count = i = 0
    while i < n:
        work[count] = work[i]
        count += 1
        i = work[following + i]
    return count
