"""Byte-pair merges: of the neighbouring pairs with a rank the one of lowest rank becomes one symbol, until no pair has a rank.

With ranks r(a, b), for symbols s_1 ... s_n ::

    while some (s_i, s_i+1) has a rank:
        i = the leftmost of those with the lowest rank
        replace s_i, s_i+1 by the symbol of that rank

Short sequences (n <= SHORT) look for the lowest rank among all n, sixteen at once; long ones keep the candidates in a heap, so
that n symbols take O(n log n) steps whatever they are.

References
----------
R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, ACL 2016, algorithm 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.compiled.jit import jit

ID_BITS, RANK_BITS = 21, 22  # two ids and a rank fit into 64 bits
SHORT = 128  # symbols
_GROUP = 16  # ranks compared at once
_PLACE_BITS = 7  # of a short sequence; with a rank they fit into 31 bits
NO_RANK = 2**23
_NONE = np.int64(NO_RANK)  # above every rank
_NO_KEY = np.int32(2**30)  # above every rank and place
_SYMBOL, _KEY, _NEXT, _BEFORE = range(4)  # rows of the scratch of a short sequence
_EMPTY = np.uint64(2**64 - 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: products spread small keys over the high bits
_ID_BITS, _RANK_BITS, _RANK_MASK = np.uint64(ID_BITS), np.uint64(RANK_BITS), np.uint64(2**RANK_BITS - 1)


class Merges(NamedTuple):
    """The merges, as kernels look them up."""

    pairs: np.ndarray  # (S,) uint64: left id, right id and rank in one word, hashed by the ids; S a power of two
    shift: np.uint64  # 64 - log2(S)
    merged: np.ndarray  # (M,) int32: the symbol that the merge of every rank makes


def make_merges(left: np.ndarray, right: np.ndarray, merged: np.ndarray) -> Merges:
    """The table of M merges in the order of their ranks: three arrays of ids, (M,) int32 each."""
    bits = max(int(2 * len(merged)).bit_length(), 6)
    pairs = np.full(1 << bits, _EMPTY, np.uint64)  # (S,)
    shift = np.uint64(64 - bits)
    _fill(pairs, shift, left, right)
    return Merges(pairs, shift, merged)


def make_scratch() -> np.ndarray:
    """Room of one thread for a short sequence, (4, SHORT + 16) int32: symbols, and by place rank and neighbours."""
    return np.empty((4, SHORT + _GROUP), np.int32)


def work_size(n: int) -> int:
    """Words of room that `merge_long` needs for n symbols: a merge takes one pair out of the heap and puts in two at most."""
    return 6 * n + 1


@intrinsic
def lowest16(typingctx, array, row, column):
    """The lowest of array[row, column : column + 16], int32."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = cgutils.get_item_pointer(context, builder, signature.args[0], data, arguments[1:], wraparound=False)
        lanes = ir.VectorType(ir.IntType(32), _GROUP)
        reduce = ir.FunctionType(ir.IntType(32), [lanes])
        function = cgutils.get_or_insert_function(builder.module, reduce, f"llvm.vector.reduce.smin.v{_GROUP}i32")
        return builder.call(function, [builder.load(builder.bitcast(start, lanes.as_pointer()), align=4)])

    return types.int32(array, types.intp, types.intp), codegen


@jit(counted=False)
def _fill(pairs, shift, left, right):
    mask = np.uint64(pairs.size - 1)
    for rank in range(left.size):
        key = np.uint64(left[rank]) << _ID_BITS | np.uint64(right[rank])
        slot = key * _SPREAD >> shift
        while pairs[slot] != _EMPTY:
            slot = slot + np.uint64(1) & mask
        pairs[slot] = key << _RANK_BITS | np.uint64(rank)


@jit(part=True, counted=False)
def rank_of(merges, left, right):
    """The rank of a pair, or _NONE."""
    key = np.uint64(left) << _ID_BITS | np.uint64(right)
    mask = np.uint64(merges.pairs.size - 1)
    slot = key * _SPREAD >> merges.shift
    while True:
        entry = merges.pairs[slot]
        if entry >> _RANK_BITS == key:
            return np.int64(entry & _RANK_MASK)
        if entry == _EMPTY:
            return _NONE
        slot = slot + np.uint64(1) & mask


@jit(part=True, counted=False)
def _key(merges, scratch, left, right):
    """Rank and place of the pair of the symbols at two places."""
    return np.int32(rank_of(merges, scratch[_SYMBOL, left], scratch[_SYMBOL, right]) << _PLACE_BITS | left)


@jit(part=True, counted=False)
def merge_short(scratch, n, merges):
    """Merge scratch[0, :n] in place, 0 < n <= SHORT; returns how many symbols remain."""
    for i in range(n - 1):
        set_rank(scratch, i, rank_of(merges, scratch[_SYMBOL, i], scratch[_SYMBOL, i + 1]))
    return merge_ranked(scratch, n, merges)


@jit(part=True, counted=False)
def set_rank(scratch, i, rank):
    """Tell the rank of the pair at a place, for `merge_ranked`."""
    scratch[_KEY, i] = np.int32(rank << _PLACE_BITS | i)


@jit(part=True, counted=False)
def merge_ranked(scratch, n, merges):
    """As `merge_short`, where the ranks of the n - 1 pairs are set."""
    groups = (n + _GROUP - 2) // _GROUP
    for i in range(max(n - 1, 0), groups * _GROUP):
        scratch[_KEY, i] = _NO_KEY
    for i in range(n):
        scratch[_NEXT, i] = i + 1
        scratch[_BEFORE, i + 1] = i
    while True:
        lowest = _NO_KEY
        for group in range(groups):
            lowest = min(lowest, lowest16(scratch, _KEY, group * _GROUP))
        if lowest >= _NO_KEY:
            break
        i = np.intp(lowest) & ((1 << _PLACE_BITS) - 1)
        second = np.intp(scratch[_NEXT, i])
        third = np.intp(scratch[_NEXT, second])
        scratch[_SYMBOL, i] = merges.merged[np.intp(lowest) >> _PLACE_BITS]
        scratch[_NEXT, i] = third
        scratch[_BEFORE, third] = i
        scratch[_KEY, second] = _NO_KEY
        scratch[_KEY, i] = _key(merges, scratch, i, third) if third < n else _NO_KEY
        if i > 0:
            previous = np.intp(scratch[_BEFORE, i])
            scratch[_KEY, previous] = _key(merges, scratch, previous, i)
    count = i = 0
    while i < n:
        scratch[_SYMBOL, count] = scratch[_SYMBOL, i]
        count += 1
        i = np.intp(scratch[_NEXT, i])
    return count


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
