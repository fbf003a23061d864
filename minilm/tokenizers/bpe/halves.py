"""Every way to make a token of two others, by a hash table of the tokens' bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.counting import hash_of_piece, same_bytes
from minilm.tokenizers.bpe.intrinsics import PADDING

_SHIFT = np.uint64(20)


def halves(tokens: Sequence[bytes]) -> np.ndarray:
    """Which two of V distinct tokens, none of them empty, make which third one.

    Returns
    -------
    ways : (M, 3) int32
        Places in `tokens` of the left one, the right one and of both together; in the order of the third column, then the first.
    """
    content = np.frombuffer(b"".join(tokens) + bytes(PADDING), np.uint8)  # (N + PADDING,)
    starts = np.cumsum([0, *map(len, tokens)])  # (V + 1,)
    slots = np.full(1 << (2 * len(tokens)).bit_length(), -1, np.int32)
    ways = np.empty((int(starts[-1]) - len(tokens), 3), np.int32)  # a way a place within a token, at most
    return ways[: _find(content, starts, slots, ways)].copy()


@jit(part=True, counted=False)
def _place(content, begin, length, starts, slots):
    """Where in `slots` a token of these bytes is, or would be."""
    mask = np.uint64(slots.size - 1)
    slot = hash_of_piece(content, begin, length) >> _SHIFT & mask
    while slots[slot] >= 0:
        start = starts[slots[slot]]
        if starts[slots[slot] + 1] - start == length and same_bytes(content, begin, content, start, length):
            break
        slot = slot + np.uint64(1) & mask
    return slot


@jit(counted=False)
def _find(content, starts, slots, ways):
    for token in range(starts.size - 1):
        slots[_place(content, starts[token], starts[token + 1] - starts[token], starts, slots)] = token
    count = 0
    for token in range(starts.size - 1):
        begin, end = starts[token], starts[token + 1]
        first = count  # of this token's ways, which are sorted as they come: there are few
        for middle in range(begin + 1, end):
            left = slots[_place(content, begin, middle - begin, starts, slots)]
            right = slots[_place(content, middle, end - middle, starts, slots)] if left >= 0 else -1
            if right < 0:
                continue
            place = count
            while place > first and ways[place - 1, 0] > left:
                for column in range(3):
                    ways[place, column] = ways[place - 1, column]
                place -= 1
            ways[place, 0], ways[place, 1], ways[place, 2] = left, right, token
            count += 1
    return count
