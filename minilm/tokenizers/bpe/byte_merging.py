"""The merges of a piece of text: its bytes are the first symbols, whose ids and ranks lie close together in small tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.merging import KEYS, LANE_BITS, SHORT, SYMBOLS, merge_keyed, merge_long
from minilm.tokenizers.bpe.pair_ranks import NO_RANK, Merges, make_merges

__all__ = ["SHORT", "ByteMerges", "make_byte_merges", "merge_bytes", "merge_many_bytes"]


class ByteMerges(NamedTuple):
    """Merges that begin with bytes."""

    ids: np.ndarray  # (256,) int32; -1 for a byte that no text has
    ranks: np.ndarray  # (65536,) int32: of the pair of two bytes, the first one high
    merges: Merges


def make_byte_merges(ids: np.ndarray, merges: np.ndarray) -> ByteMerges:
    """Tables of the merges (M, 3) int32, which are left id, right id and the id of both, for bytes with the ids (256,) int32."""
    left, right, both = np.ascontiguousarray(merges.T)  # (M,) each
    byte = np.full(max(ids.max(), left.max(initial=0), right.max(initial=0)) + 1, -1, np.int64)  # by id
    byte[ids[ids >= 0]] = np.flatnonzero(ids >= 0)
    ranks = np.full(1 << 16, NO_RANK, np.int32)  # (65536,)
    of_bytes = np.flatnonzero((byte[left] >= 0) & (byte[right] >= 0))  # (b,)
    ranks[byte[left[of_bytes]] << 8 | byte[right[of_bytes]]] = of_bytes
    return ByteMerges(ids, ranks, make_merges(left, right, both))


@jit(part=True, counted=False)
def _begin(text, i, length, table, scratch, lanes):
    """Write symbols and keys of their pairs down for `merge_keyed`: of `lanes` bytes, a literal, so that no loop ends early."""
    for k in range(lanes):
        byte, following = np.uint64(text[i + k]), np.uint64(text[i + k + 1])
        scratch[SYMBOLS, k + 1] = table.ids[byte]
        rank = table.ranks[byte << np.uint64(8) | following] if k < length - 1 else NO_RANK
        scratch[KEYS, k] = np.int32(rank << LANE_BITS | k)


@jit(part=True, counted=False)
def merge_bytes(text, i, length, table, scratch, out, count):
    """Ids of text[i : i + length], 0 < length <= SHORT, into out[count:]; returns how many. PADDING bytes follow the text."""
    if length <= 17:
        _begin(text, i, length, table, scratch, 17)
    elif length <= 33:
        _begin(text, i, length, table, scratch, 33)
    else:
        _begin(text, i, length, table, scratch, 64)
    return merge_keyed(scratch, length, table.merges, out, count)


@jit(part=True, counted=False)
def merge_many_bytes(text, i, length, table, work, out, count):
    """The same for any length for which there is room in `work`, see `merging.work_size`."""
    for k in range(length):
        work[k] = table.ids[text[i + k]]
    n = merge_long(work, length, table.merges)
    for k in range(n):
        out[count + k] = work[k]
    return n
