"""Joining the most frequent pair, again and again: words as arrays of ids, pairs in a heap, counts brought up to date.

A join changes only the words that hold the pair, and in them only the counts of the neighbours. So every pair of the heap keeps
the words in which it arose; an entry whose count is out of date is put back with the right one when it comes up.

A pair may be in the heap twice, since one spelling can be joined in two ways ("ab" + "c", "a" + "bc") and then meet the same
neighbour in other words at a later time. As in `tokenizers`, each entry joins in its own words, and the count of a pair that was
joined is not taken back: it adds to the count of its later entry.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from minilm.ops.jit import jit


class State(NamedTuple):
    """The words: ids (S,) one after the other, where each begins (W + 1,), how many ids it still has (W,), its frequency (W,)."""

    symbols: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray


class Queue:
    """Pairs by falling count, ties by rising ids."""

    def __init__(self, state: State):
        self.state = state
        self.counts: dict[int, int] = {}  # pair -> count; a pair is left * 2^32 + right
        self.heap: list[tuple[int, int, int]] = []  # (-count, pair, number of the entry), smallest first
        self.words: list[np.ndarray] = []  # of each entry: the words it arose in
        pairs, words = all_pairs(*state)
        self._add(pairs, words, state.counts[words])

    def pop(self, least: int) -> tuple[int, int] | None:
        """The next pair to join, as two ids; None if none occurs `least` times."""
        while self.heap:
            negative, pair, entry = heapq.heappop(self.heap)
            count = self.counts[pair]
            if count != -negative:
                heapq.heappush(self.heap, (-count, pair, entry))
                continue
            if count < least:
                return None
            self._popped = pair, entry
            return pair >> 32, pair & 0xFFFFFFFF
        return None

    def merge(self, new: int) -> None:
        """Join the pair that was popped into the id `new`, in the words of its entry."""
        pair, entry = self._popped
        words, self.words[entry] = self.words[entry], np.empty(0, np.int32)
        room = 4 * int(self.state.lengths[words].sum())
        pairs, changes, places = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
        size = join(*self.state, words, pair >> 32, pair & 0xFFFFFFFF, new, pairs, changes, places)
        self._add(pairs[:size], places[:size], changes[:size])

    def _add(self, pairs: np.ndarray, words: np.ndarray, changes: np.ndarray) -> None:
        """Change the counts of pairs, and put those that arose into the heap."""
        order = np.lexsort((words, pairs))
        pairs, words, changes = pairs[order], words[order], changes[order]
        starts = np.flatnonzero(np.diff(pairs, prepend=-1))  # (P,)
        sums = np.add.reduceat(changes, starts) if starts.size else np.empty(0, np.int64)  # (P,)
        for pair, start, stop, change in zip(
            pairs[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), pairs.size], sums.tolist(), strict=False
        ):
            count = self.counts[pair] = self.counts.get(pair, 0) + change
            arose = words[start:stop][changes[start:stop] > 0]
            if arose.size and count > 0:
                heapq.heappush(self.heap, (-count, pair, len(self.words)))
                self.words.append(arose[np.diff(arose, prepend=-1) != 0])


@jit
def all_pairs(symbols, starts, lengths, counts):
    """Every pair of neighbours, and its word: (N,) int64 and (N,) int32."""
    pairs = np.empty(symbols.size, np.int64)
    words = np.empty(symbols.size, np.int32)
    n = 0
    for word in range(lengths.size):
        for i in range(starts[word], starts[word] + lengths[word] - 1):
            pairs[n] = np.int64(symbols[i]) << 32 | np.int64(symbols[i + 1])
            words[n] = word
            n += 1
    return pairs[:n], words[:n]


@jit
def join(symbols, starts, lengths, counts, words, left, right, new, pairs, changes, places):
    """Join a pair wherever it stands in some words, from left to right.

    Parameters
    ----------
    symbols, starts, lengths, counts
        As in `State`; symbols and lengths are changed.
    words : (M,) int32
    left, right, new : int
    pairs, changes, places : (N,) int64, int64, int32
        Are filled: pairs of neighbours that went (a negative change of their count) and came (a positive one), and their word.

    Returns
    -------
    size : int
        How much of them is filled.
    """
    n = 0
    for word in words:
        start, length, count = starts[word], lengths[word], counts[word]
        kept = start  # symbols[start:kept] are done
        i = start
        while i < start + length:
            if i + 1 < start + length and symbols[i] == left and symbols[i + 1] == right:
                if kept > start:
                    before = np.int64(symbols[kept - 1]) << 32
                    pairs[n], changes[n], places[n] = before | left, -count, word
                    pairs[n + 1], changes[n + 1], places[n + 1] = before | new, count, word
                    n += 2
                if i + 2 < start + length:
                    after = np.int64(symbols[i + 2])
                    pairs[n], changes[n], places[n] = np.int64(right) << 32 | after, -count, word
                    pairs[n + 1], changes[n + 1], places[n + 1] = np.int64(new) << 32 | after, count, word
                    n += 2
                symbols[kept] = new
                i += 2
            else:
                symbols[kept] = symbols[i]
                i += 1
            kept += 1
        lengths[word] = kept - start
    return n
