"""Which characters may be merged before all else, so that a piece begins as its characters and not as its bytes.

A character of two or three bytes is *settled* if nothing beside it can touch it before its own bytes are merged as far as they
go. With R the highest rank of the merges of its bytes alone, that is so if each symbol that stands at its left or right edge
while they are merged, the last one too, has only ranks above R with a symbol that ends or begins another character of several
bytes. Up to then some pair of its own has a rank of at most R, so that pair goes first. Its merges may then be done before all
others, once and for all, when the table of characters is made (see `characters`): a word of four ideographs begins as four
symbols instead of twelve. In vocabularies that were learnt from text nearly all characters are settled, since a character is
more frequent than any sequence with it.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.pair_ranks import NO_RANK, rank_of


def edge_ranks(merges: np.ndarray, tokens: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest ranks across the border of two characters of several bytes.

    Parameters
    ----------
    merges : (M, 3) int32
        Left id, right id and the id of both together.
    tokens : list of V bytes
        An empty one, whose bytes are not known, is taken for the end and the begin of a character.

    Returns
    -------
    as_right, as_left : (V,) int32
        Of every id the lowest rank with what may end a character before it, and with what may begin one behind it, or NO_RANK.
    """
    last = np.array([token[-1] if token else 0x80 for token in tokens])  # (V,)
    first = np.array([token[0] if token else 0xC0 for token in tokens])  # (V,)
    left, right = merges[:, 0], merges[:, 1]  # (M,) each
    as_right, as_left = (np.full(len(tokens), NO_RANK, np.int32) for _ in range(2))
    across = np.flatnonzero((last[left] & 0xC0 == 0x80) & (first[right] >= 0xC0))[::-1]  # the lowest rank comes last, and stays
    as_right[right[across]] = across
    as_left[left[across]] = across
    return as_right, as_left


@jit(part=True, counted=False)
def settled_symbols(text, width, bytes_, as_right, as_left, symbols):
    """The symbols of the character text[:width] into symbols[:n], by its own merges; returns n, or 0 if it is not settled."""
    for k in range(width):
        symbols[k] = bytes_.ids[text[k]]
    highest, n = np.int64(-1), width
    touched = NO_RANK  # the lowest rank with a neighbour of any symbol at an edge
    while True:
        touched = min(touched, as_right[symbols[0]], as_left[symbols[n - 1]])
        best, place = np.int64(NO_RANK), 0
        for k in range(n - 1):
            rank = rank_of(bytes_.merges, symbols[k], symbols[k + 1])
            if rank < best:
                best, place = rank, k
        if best == NO_RANK:
            return n if touched > highest else 0
        highest = max(highest, best)
        symbols[place] = bytes_.merges.merged[best]
        n -= 1
        for k in range(place + 1, n):
            symbols[k] = symbols[k + 1]
