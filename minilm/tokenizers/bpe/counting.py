"""How often each piece of a text occurs, by a hash table of their bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import load64
from minilm.tokenizers.bpe.pieces import PADDING, ROOM, Cutter, padded, piece_ends

_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order


class Counts(NamedTuple):
    """W distinct pieces, in the order of their first occurrence; the arrays have room for more."""

    slots: np.ndarray  # (S,) int32: a piece's number, or -1; S a power of two, at least twice the room for pieces
    hashes: np.ndarray  # (>= W,) uint64
    starts: np.ndarray  # (>= W + 1,) int64: where a piece's bytes begin
    counts: np.ndarray  # (>= W,) int64
    content: np.ndarray  # (.,) uint8


def empty(pieces: int = 1 << 12, size: int = 1 << 16) -> Counts:
    """No pieces, and room for so many of them and so many bytes; `pieces` is a power of two."""
    return Counts(
        np.full(2 * pieces, -1, np.int32),
        np.empty(pieces, np.uint64),
        np.zeros(pieces + 1, np.int64),
        np.zeros(pieces, np.int64),
        np.zeros(size + PADDING, np.uint8),
    )


class PieceCounter:
    """Counts pieces of texts that come one after the other."""

    def __init__(self, cutter: Cutter):
        self.counts, self.size = empty(), 0
        self._cutter, self._ends = cutter, np.empty(ROOM, np.int64)

    def add(self, text: str) -> None:
        """Count the pieces of a text; UnicodeEncodeError for a lone surrogate."""
        content, stop = padded(text)
        i = 0
        while i < stop:
            i, self.size = _count(content, i, stop, self._cutter, self._ends, self.counts, self.size)
            if i < stop:
                self._grow(stop - i)

    def _grow(self, size: int) -> None:
        """Twice the room for pieces, and room for `size` more bytes, or twice the room if that is more."""
        old, used = self.counts, self.size
        self.counts = new = empty(2 * old.counts.size, max(2 * old.content.size, old.content.size + size))
        new.hashes[:used], new.counts[:used] = old.hashes[:used], old.counts[:used]
        new.starts[: used + 1] = old.starts[: used + 1]
        new.content[: old.content.size] = old.content
        _enter(new.slots, new.hashes, used)


@jit(part=True, counted=False)
def hash_of_piece(text, i, length):
    """A hash of text[i : i + length], whose low bits say less than the others; PADDING bytes follow the text."""
    mixed = np.uint64(length)
    for k in range(0, length, 8):
        word = load64(text, i + k)
        if length - k < 8:
            word &= ~np.uint64(0) >> np.uint64(8 * (8 - length + k))
        mixed = (mixed ^ word) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
    return mixed * _STIR


@jit(part=True, counted=False)
def same_bytes(text, i, content, start, length):
    """Whether text[i : i + length] and content[start : start + length] are the same; PADDING bytes follow both."""
    for k in range(0, length, 8):
        difference = load64(text, i + k) ^ load64(content, start + k)
        if length - k < 8:
            difference &= ~np.uint64(0) >> np.uint64(8 * (8 - length + k))
        if difference:
            return False
    return True


@jit(counted=False)
def _enter(slots, hashes, size):
    mask = np.uint64(slots.size - 1)
    for piece in range(size):
        slot = hashes[piece] >> np.uint64(20) & mask
        while slots[slot] >= 0:
            slot = slot + np.uint64(1) & mask
        slots[slot] = piece


@jit(counted=False)
def _count(text, i, stop, cutter, ends, counts, size):
    """Count the pieces of text[i:stop]; returns up to where there was room for new ones, and how many distinct ones there are."""
    mask = np.uint64(counts.slots.size - 1)
    while i < stop:
        for k in range(piece_ends(text, i, stop, cutter, 0, ends)):
            length = ends[k] - i
            mixed = hash_of_piece(text, i, length)
            slot = mixed >> np.uint64(20) & mask
            piece = counts.slots[slot]
            while piece >= 0:
                start = counts.starts[piece]
                if (
                    counts.hashes[piece] == mixed
                    and counts.starts[piece + 1] - start == length
                    and same_bytes(text, i, counts.content, start, length)
                ):
                    break
                slot = slot + np.uint64(1) & mask
                piece = counts.slots[slot]
            if piece < 0:
                start = counts.starts[size]
                if size == counts.counts.size or start + length + PADDING > counts.content.size:
                    return i, size
                piece = size
                size += 1
                counts.slots[slot], counts.hashes[piece] = piece, mixed
                counts.starts[size] = start + length
                for j in range(length):
                    counts.content[start + j] = text[i + j]
            counts.counts[piece] += 1
            i = ends[k]
    return i, size
