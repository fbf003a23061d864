"""The rank of a pair of symbols, by one look into a table that has no two pairs in one place (a perfect hash).

A pair's key is its two ids side by side, 42 bits. With h = key A mod 2^64, A odd (no two keys have one h), and 2^s places::

    group = the highest g bits of h
    place = the highest s bits of (2 d[group] + 1) h mod 2^64

The numbers d are chosen when the table is made, the largest group first: the first d that puts all of its pairs on free places. A
place holds key and rank in one word, so a look costs two reads, and no branch that a processor would have to guess.

Most pairs that are looked up have no rank, and the places are too many for the near caches. So beside d[group] stand sixteen
bits, of which each pair of the group sets one, that of the next four bits of its h: where a pair's bit is not set, place 0 is
read instead, which is near.

References
----------
D. Belazzougui, F. C. Botelho, M. Dietzfelbinger, Hash, displace, and compress, ESA 2009.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit

ID_BITS, RANK_BITS = 21, 22  # two ids and a rank fit into 64 bits
NO_RANK = 2**23  # above every rank
NO_SYMBOL = 2**ID_BITS - 1  # no id; no pair with it has a rank
_GROUP = 4  # pairs in a group, about
_BITS_FROM = 16  # in the word of a group, below which d stands
_MOST = 2**_BITS_FROM  # numbers d that are tried
_EMPTY = np.uint64(2**64 - 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: products spread small keys over the high bits
_ID_BITS, _RANK_BITS, _RANK_MASK = np.uint64(ID_BITS), np.uint64(RANK_BITS), np.uint64(2**RANK_BITS - 1)
_ONE, _LAST_BIT, _DISPLACEMENT = np.uint64(1), np.uint64(15), np.uint64(_MOST - 1)


class Merges(NamedTuple):
    """The merges, as kernels look them up."""

    pairs: np.ndarray  # (2**s,) uint64: left id, right id and rank in one word
    shift: np.uint64  # 64 - s
    groups: np.ndarray  # (2**g,) uint32: the numbers d, and above them the bits of the groups' pairs
    group_shift: np.uint64  # 64 - g
    bit_shift: np.uint64  # 60 - g
    merged: np.ndarray  # (M,) int32: the symbol that the merge of every rank makes


def make_merges(left: np.ndarray, right: np.ndarray, merged: np.ndarray) -> Merges:
    """The table of M merges in the order of their ranks: three arrays of ids, (M,) int32 each."""
    keys = left.astype(np.uint64) << _ID_BITS | right.astype(np.uint64)  # (M,)
    hashes = keys * _SPREAD  # (M,)
    bits = max(int(1.2 * len(keys)).bit_length(), 6)  # at most five sixths of the places are taken
    group_bits = max((len(keys) // _GROUP).bit_length(), 1)
    groups = (hashes >> np.uint64(64 - group_bits)).astype(np.int64)  # (M,)
    order = np.argsort(groups, kind="stable")  # (M,): the pairs, group by group
    starts = np.searchsorted(groups[order], np.arange((1 << group_bits) + 1))  # (2**g + 1,)
    largest_first = np.argsort(-np.diff(starts), kind="stable")  # (2**g,)
    entries = keys << _RANK_BITS | np.arange(len(keys), dtype=np.uint64)  # (M,)
    while True:
        pairs = np.full(1 << bits, _EMPTY, np.uint64)  # (2**s,)
        displacements = np.zeros(1 << group_bits, np.uint16)  # (2**g,)
        shift = np.uint64(64 - bits)
        if _placed(hashes[order], entries[order], starts, largest_first, shift, pairs, displacements):
            bit_shift = np.uint64(60 - group_bits)
            bits_set = np.uint32(1) << (hashes >> bit_shift & _LAST_BIT).astype(np.uint32)  # (M,)
            words = displacements.astype(np.uint32)  # (2**g,)
            np.bitwise_or.at(words, groups, bits_set << np.uint32(_BITS_FROM))
            return Merges(pairs, shift, words, np.uint64(64 - group_bits), bit_shift, merged)
        bits += 1


@jit(part=True, counted=False)
def _place(hashed, displacement, shift):
    return (np.uint64(displacement) << _ONE | _ONE) * hashed >> shift


@jit(counted=False)
def _placed(hashes, entries, starts, groups, shift, pairs, displacements):
    """Choose the displacements and fill the table; False if there is none for a group."""
    for group in groups:
        begin, end = starts[group], starts[group + 1]
        displacement, k = 0, begin
        while k < end:
            slot = _place(hashes[k], displacement, shift)
            if pairs[slot] == _EMPTY:
                pairs[slot] = entries[k]
                k += 1
                continue
            for placed in range(begin, k):
                pairs[_place(hashes[placed], displacement, shift)] = _EMPTY
            displacement, k = displacement + 1, begin
            if displacement == _MOST:
                return False
        displacements[group] = displacement
    return True


@jit(part=True, counted=False)
def rank_of(merges, left, right):
    """The rank of a pair, or NO_RANK."""
    key = np.uint64(left) << _ID_BITS | np.uint64(right)
    hashed = key * _SPREAD
    group = np.uint64(merges.groups[hashed >> merges.group_shift])
    known = group >> np.uint64(_BITS_FROM) >> (hashed >> merges.bit_shift & _LAST_BIT) & _ONE
    entry = merges.pairs[_place(hashed, group & _DISPLACEMENT, merges.shift) * known]
    return np.int64(entry & _RANK_MASK) if entry >> _RANK_BITS == key else np.int64(NO_RANK)
