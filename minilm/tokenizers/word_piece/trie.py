"""The vocabulary as a trie: from each character to the next, so that the longest piece is found in one walk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WORD, INNER = 0, 1  # roots: of what begins a word, and of what goes on in it


class Trie(NamedTuple):
    """A trie with two roots, its edges in one open hash table, at most half full.

    Attributes
    ----------
    keys, children : ndarray, shape (2^k,), uint64 and int32
        The edge from a node by a character, node * 2^21 + code point, and the node it leads to.
    tokens : ndarray, shape (nodes,), int32
        The id of the piece that ends at a node, or -1.
    """

    keys: np.ndarray
    children: np.ndarray
    tokens: np.ndarray


def build(vocabulary, prefix: str) -> Trie:
    """The trie of a vocabulary.

    Every token may begin a word. One that begins with `prefix` may, without it, go on in a word.
    """
    strings, roots, ids = [], [], []
    for id, token in enumerate(vocabulary):
        inner = token[len(prefix) :] if token.startswith(prefix) else ""
        for root, string in ((WORD, token), (INNER, inner)):
            if string:
                strings.append(string)
                roots.append(root)
                ids.append(id)
    return of_strings(strings, np.array(roots, np.int32), np.array(ids, np.int32))


def of_strings(strings: list[str], roots: np.ndarray, ids: np.ndarray) -> Trie:
    """The trie of S non-empty strings, each below one of the two roots, (S,), and with the id it stands for, (S,).

    Where two strings are equal the later one's id counts.
    """
    from . import kernels

    codes = np.frombuffer("".join(strings).encode("utf-32-le"), "<u4")  # (C,)
    ends = np.cumsum([len(string) for string in strings], dtype=np.int64)  # (S,)
    arrays = codes, ends, roots.astype(np.int32), ids.astype(np.int32)
    nodes = kernels.build_trie(*arrays, *_empty(codes.size + 2))  # counts them; the table that is kept must be small to be quick
    trie = _empty(nodes)
    kernels.build_trie(*arrays, *trie)
    return trie


def _empty(nodes: int) -> Trie:
    size = 1 << (2 * nodes).bit_length()
    return Trie(np.full(size, 0xFFFFFFFFFFFFFFFF, np.uint64), np.zeros(size, np.int32), np.full(nodes, -1, np.int32))
