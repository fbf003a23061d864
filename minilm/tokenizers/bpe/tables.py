"""What encoding reads of a vocabulary: its merges, its cut of texts, and its tokens by their bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import load64
from minilm.tokenizers.bpe.joins import cutter_of
from minilm.tokenizers.bpe.merging import merge_long, work_size
from minilm.tokenizers.bpe.pair_ranks import NO_RANK, Merges, make_merges
from minilm.tokenizers.bpe.pieces import PADDING, Cutter

KEY_BYTES = 15  # of a piece that is its own key
WORD_BYTES = 12  # of a token that is looked up by its bytes
_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order
ID_SHIFT, ID_MASK = np.uint64(32), np.uint64(2**24 - 1)
NOT_ID = ~(ID_MASK << ID_SHIFT)
# By a piece's length: which bits of its first and of its second eight bytes count.
_FIRST = np.array([2 ** (8 * min(n, 8)) - 1 for n in range(KEY_BYTES + 1)], np.uint64)  # (16,)
_SECOND = np.array([2 ** (8 * max(n - 8, 0)) - 1 for n in range(KEY_BYTES + 1)], np.uint64)  # (16,)


class Words(NamedTuple):
    """The tokens of at most WORD_BYTES bytes, by their bytes: both in one place, so that a look costs one line of the cache."""

    slots: np.ndarray  # (S, 2) uint64: a token's key with its id and 1 from bit 32 of the second word on; S a power of two
    shift: np.uint64  # 64 - log2(S)


class Tables(NamedTuple):
    """What all threads read."""

    cutter: Cutter
    parts: int  # 1 if pieces may be cut within, where no token joins their characters
    byte_ids: np.ndarray  # (256,) int32
    byte_ranks: np.ndarray  # (65536,) int32: of the pair of two bytes, the first one high
    merges: Merges
    words: Words


def make_tables(
    expressions: tuple[str, ...], byte_ids: np.ndarray, merges: np.ndarray, tokens: list[bytes], whole: bool = False
) -> Tables:
    """Tables for a vocabulary.

    Parameters
    ----------
    expressions : tuple of str
        The pattern, see `patterns.of`.
    byte_ids : (256,) int32
        -1 for a byte that no text has.
    merges : (M, 3) int32
        Left id, right id and the id of both together.
    tokens : list of V bytes
        Empty for what no text encodes to.
    whole : bool
        Whether a piece that is a token is that token, even if its bytes do not merge to it.

    Raises
    ------
    ValueError
        With `whole`, a token of more than WORD_BYTES bytes is one that merges do not give.
    """
    left, right, both = np.ascontiguousarray(merges.T)  # (M,) each
    table = make_merges(left, right, both)
    bits = max((2 * len(tokens)).bit_length(), 10)
    words = Words(np.zeros((1 << bits, 2), np.uint64), np.uint64(64 - bits))
    content = np.frombuffer(b"".join(tokens) + b"\0" * PADDING, np.uint8)  # (N + PADDING,)
    starts = np.cumsum([0, *map(len, tokens)])  # (V + 1,)
    work = np.empty(work_size(int(np.diff(starts).max(initial=0))), np.int64)
    unmerged = _fill(words, content, starts, byte_ids, table, work, whole)
    if whole and unmerged >= 0 and len(tokens[unmerged]) > WORD_BYTES:
        raise ValueError(
            f"ignore_merges with a token of over {WORD_BYTES} bytes that no merges give, {tokens[unmerged]!r}, is not supported"
        )
    parts = int(not whole or unmerged < 0)
    return Tables(cutter_of(expressions, tokens), parts, byte_ids, _byte_ranks(byte_ids, left, right), table, words)


def _byte_ranks(byte_ids, left, right) -> np.ndarray:
    """The ranks of pairs of bytes, (65536,) int32: with these every piece begins, and here they lie close together."""
    byte = np.full(max(byte_ids.max(), left.max(initial=0), right.max(initial=0)) + 1, -1, np.int64)  # (ids,)
    byte[byte_ids[byte_ids >= 0]] = np.flatnonzero(byte_ids >= 0)
    table = np.full(1 << 16, NO_RANK, np.int32)  # (65536,)
    ranks = np.flatnonzero((byte[left] >= 0) & (byte[right] >= 0))  # (b,)
    table[byte[left[ranks]] << 8 | byte[right[ranks]]] = ranks
    return table


@jit(part=True, counted=False)
def key_of(text, i, length):
    """The two words that stand for a piece of at most KEY_BYTES bytes; the second one is never 0."""
    return load64(text, i) & _FIRST[length], load64(text, i + 8) & _SECOND[length] | np.uint64(length) << np.uint64(56)


@jit(part=True, counted=False)
def hash_of(first, second):
    """64 bits of which the high ones serve."""
    mixed = (first ^ second * _STIR) * _SPREAD
    return (mixed ^ mixed >> np.uint64(32)) * _SPREAD


@jit(counted=False)
def _fill(words, tokens, starts, byte_ids, merges, work, whole):
    """Enter every token that its own bytes merge to; another would not be what the merges give for that piece.

    With `whole` the others, too. Returns the longest of these, or -1.
    """
    mask = np.uint64(words.slots.shape[0] - 1)
    unmerged = -1
    for token in range(starts.size - 1):
        begin, length = starts[token], starts[token + 1] - starts[token]
        if not length:
            continue
        if not _is_merged(tokens, begin, length, token, byte_ids, merges, work):
            if not whole:
                continue
            if unmerged < 0 or length > starts[unmerged + 1] - starts[unmerged]:
                unmerged = token
        if length > WORD_BYTES:
            continue
        first, second = key_of(tokens, begin, length)
        slot = hash_of(first, second) >> words.shift
        while words.slots[slot, 1]:
            slot = slot + np.uint64(1) & mask
        words.slots[slot, 0], words.slots[slot, 1] = first, second | np.uint64(token + 1) << ID_SHIFT
    return unmerged


@jit(part=True, counted=False)
def _is_merged(tokens, begin, length, token, byte_ids, merges, work):
    """Whether the bytes of a token merge to it."""
    for k in range(length):
        work[k] = byte_ids[tokens[begin + k]]
        if work[k] < 0:
            return False
    return merge_long(work, length, merges) == 1 and work[0] == token


@jit(part=True, counted=False)
def word_of(words, first, second, hashed):
    """The id of the token that is the piece of this key, of at most WORD_BYTES bytes, and hash; -1 if there is none."""
    mask = np.uint64(words.slots.shape[0] - 1)
    slot = hashed >> words.shift
    while words.slots[slot, 1]:
        if words.slots[slot, 0] == first and words.slots[slot, 1] & NOT_ID == second:
            return np.intp(words.slots[slot, 1] >> ID_SHIFT & ID_MASK) - 1
        slot = slot + np.uint64(1) & mask
    return -1
