"""Pieces of few bytes as keys, and the vocabulary's tokens by their bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_merging import ByteMerges
from minilm.tokenizers.bpe.intrinsics import PADDING, load64
from minilm.tokenizers.bpe.large_pages import zeros
from minilm.tokenizers.bpe.merging import merge_long, work_size

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


def make_words(table: ByteMerges, tokens: list[bytes], whole: bool) -> tuple[Words, int]:
    """The tokens that merges give, with `whole` the others too, and the longest of these others, or -1."""
    bits = max((2 * len(tokens)).bit_length(), 10)
    words = Words(zeros((1 << bits, 2)), np.uint64(64 - bits))
    content = np.frombuffer(b"".join(tokens) + b"\0" * PADDING, np.uint8)  # (N + PADDING,)
    starts = np.cumsum([0, *map(len, tokens)])  # (V + 1,)
    work = np.empty(work_size(int(np.diff(starts).max(initial=0))), np.int64)
    return words, _fill(words, content, starts, table, work, whole)


@jit(part=True, counted=False)
def key_of(text, i, length):
    """The two words that stand for a piece of at most KEY_BYTES bytes; the second one is never 0."""
    return load64(text, i) & _FIRST[length], load64(text, i + 8) & _SECOND[length] | np.uint64(length) << np.uint64(56)


@jit(part=True, counted=False)
def hash_of(first, second):
    """64 bits of which the high ones serve."""
    return (first ^ second * _STIR) * _SPREAD


@jit(counted=False)
def _fill(words, tokens, starts, table, work, whole):
    """Enter every token that its own bytes merge to; another would not be what the merges give for that piece.

    With `whole` the others, too. Returns the longest of these, or -1.
    """
    mask = np.uint64(words.slots.shape[0] - 1)
    unmerged = -1
    for token in range(starts.size - 1):
        begin, length = starts[token], starts[token + 1] - starts[token]
        if not length:
            continue
        if not _is_merged(tokens, begin, length, token, table, work):
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
def _is_merged(tokens, begin, length, token, table, work):
    """Whether the bytes of a token merge to it."""
    for k in range(length):
        work[k] = table.ids[tokens[begin + k]]
        if work[k] < 0:
            return False
    return merge_long(work, length, table.merges) == 1 and work[0] == token


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
