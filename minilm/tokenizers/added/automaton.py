"""Where strings occur in a text: the automaton of Aho and Corasick.

The state behind a character is the longest piece of text that ends there and begins some pattern: a node of the trie of patterns.
If no edge leaves the node by the next character, the longest shorter such piece is tried, `fail`, until one has the edge ::

    state(i + 1) = the longest suffix of text[: i + 1] that is the beginning of a pattern

so that one pass over the text finds all patterns, however many there are.

References
----------
A. V. Aho, M. J. Corasick, Efficient string matching: an aid to bibliographic search, Communications of the ACM 18, 1975.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.word_piece.kernels import edge
from minilm.tokenizers.word_piece.trie import of_strings

ROOT = 0
ROOM = 1024  # matches that are expected


class Automaton(NamedTuple):
    """The tables; of P patterns and a trie of n nodes.

    Attributes
    ----------
    first : ndarray, shape (256,), bool
        Whether an edge leaves the root by a character whose lowest 8 bits are these.
    keys, children : ndarray
        The edges, see `minilm.tokenizers.word_piece.trie.Trie`.
    fail : ndarray, shape (n,), int32
        The node to go on from where no edge leaves a node.
    depth : ndarray, shape (n,), int32
        The length of the string that a node stands for.
    longest : ndarray, shape (n,), int32
        The longest pattern that a node's string ends in, -1 for none.
    lengths : ndarray, shape (P,), int32
        Of the patterns.
    """

    first: np.ndarray
    keys: np.ndarray
    children: np.ndarray
    fail: np.ndarray
    depth: np.ndarray
    longest: np.ndarray
    lengths: np.ndarray

    def occurrences(self, codes: np.ndarray) -> np.ndarray:
        """Everywhere a pattern ends in a text (N,), uint32, the longest that does: start, stop and pattern, (M, 3) int64."""
        return self._filled(_ends, codes)

    def leftmost(self, codes: np.ndarray) -> np.ndarray:
        """The leftmost occurrence, of those the longest, then the same behind its end: start, stop and pattern, (M, 3) int64."""
        return self._filled(_leftmost, codes)

    def _filled(self, kernel, codes):
        room = min(codes.size, ROOM)
        while True:
            matches = np.empty((room, 3), np.int64)
            count = kernel(codes, self, matches)
            if count <= room:
                return matches[:count]
            room = count


def build(patterns: list[str]) -> Automaton:
    """The automaton of P non-empty patterns; of equal ones the first counts."""
    lengths = np.array([len(pattern) for pattern in patterns], np.int32)  # (P,)
    # Of equal strings the trie keeps the last, so they are entered from the last to the first.
    trie = of_strings(patterns[::-1], np.zeros(len(patterns), np.int32), np.arange(len(patterns) - 1, -1, -1))
    order = np.argsort(-lengths, kind="stable")  # (P,)
    codes = np.frombuffer("".join([patterns[each] for each in order.tolist()]).encode("utf-32-le"), "<u4")  # (C,)
    starts = np.cumsum(lengths[order], dtype=np.int64) - lengths[order]  # (P,)
    fail, depth = np.full(trie.tokens.size, -1, np.int32), np.zeros(trie.tokens.size, np.int32)  # (n,), (n,)
    fail[ROOT] = ROOT
    _link(codes, starts, lengths[order], np.zeros_like(starts), trie.keys, trie.children, fail, depth, trie.tokens)
    first = np.zeros(256, np.bool_)
    first[[ord(pattern[0]) & 0xFF for pattern in patterns]] = True
    return Automaton(first, trie.keys, trie.children, fail, depth, trie.tokens, lengths)


@jit(counted=False)
def _link(codes, starts, lengths, nodes, keys, children, fail, depths, longest):
    """Fill in `fail`, `depths` and `longest`, one depth after the other, given strings by falling length; `nodes` is scratch."""
    for depth in range(lengths[0]):
        for string in range(lengths.size):
            if lengths[string] <= depth:
                break
            parent, code = nodes[string], codes[starts[string] + depth]
            node = children[edge(keys, parent, code)[0]]
            nodes[string] = node
            if fail[node] >= 0:
                continue
            depths[node] = depth + 1
            fail[node] = ROOT if parent == ROOT else _step(keys, children, fail, fail[parent], code)
            if longest[node] < 0:
                longest[node] = longest[fail[node]]


@jit(part=True, counted=False)
def _step(keys, children, fail, node, code):
    """The state behind `node` after one more character."""
    while True:
        slot, key = edge(keys, node, code)
        if keys[slot] == key:
            return children[slot]
        if node == 0:  # the root
            return node
        node = fail[node]


@jit(counted=False)
def _ends(codes, automaton, matches):
    """Fill in where a pattern ends and the longest that does; returns how many there are."""
    count = 0
    node = np.int32(ROOT)
    for i in range(codes.size):
        code = codes[i]
        if node == ROOT and not automaton.first[code & 0xFF]:
            continue
        node = _step(automaton.keys, automaton.children, automaton.fail, node, code)
        longest = automaton.longest[node]
        if longest >= 0:
            if count < matches.shape[0]:
                matches[count, 0], matches[count, 1], matches[count, 2] = i + 1 - automaton.lengths[longest], i + 1, longest
            count += 1
    return count


@jit(counted=False)
def _leftmost(codes, automaton, matches):
    """Fill in where the leftmost, of those the longest, pattern ends, then the same behind its end; returns how many."""
    count = 0
    node = np.int32(ROOT)
    best, begin, stop = np.int32(-1), 0, 0
    i = 0
    while i < codes.size or best >= 0:
        if i < codes.size:
            code = codes[i]
            if node == ROOT and best < 0 and not automaton.first[code & 0xFF]:
                i += 1
                continue
            node = _step(automaton.keys, automaton.children, automaton.fail, node, code)
            i += 1
            over = i - automaton.depth[node] > begin  # nothing that begins as early is still possible
        else:
            over = True
        if best >= 0 and over:
            if count < matches.shape[0]:
                matches[count, 0], matches[count, 1], matches[count, 2] = begin, stop, best
            count += 1
            i, node, best = stop, np.int32(ROOT), np.int32(-1)
            continue
        longest = automaton.longest[node]
        if longest >= 0 and (best < 0 or i - automaton.lengths[longest] <= begin):
            best, begin, stop = longest, i - automaton.lengths[longest], i
    return count
