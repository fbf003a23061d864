"""The hot loops on code points and ids: cutting a text into words, and words into pieces. Every loop is linear in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.held import values_of

from .characters import DROP, IDEOGRAPH, LETTER, PAGE, SEVERAL, SPACE, Table

if TYPE_CHECKING:
    from .trie import Trie  # which is made by kernels of this file

BLANK = 0x20
ROOM = 16  # output that one character may need: Unicode decomposes into four at most, each with a blank on either side
FULL, NO_PAGE, DONE = 0, 1, 2


@jit(counted=False)
def split(codes, begin, block, table, limit, out, source, orders):
    """Cut a text into normalised words.

    Parameters
    ----------
    codes : (T,) uint8 or uint32, or bytes
        Code points.
    begin, block : int
        Start at `begin`; after `block` characters stop at the first place where a word ends.
    table : Table
    limit : int
        How far back at most a mark is moved: no longer word is ever looked at.
    out, source : (N,) int32
        Are filled with the characters of the words, one blank between words, and with the position in `codes` of each.
    orders : (N,) uint8
        Scratch.

    Returns
    -------
    status : int
        DONE, or why `out` is of no account: FULL (it is too short) or NO_PAGE (see `at`).
    size : int
        How much of `out` is filled.
    at : int
        Where to go on, T at the end; with NO_PAGE the page that must be computed first.
    """
    n = 0
    new_word = True
    run = 0  # marks since the last character of combining class 0
    for i in range(begin, len(codes)):
        if i - begin >= block and new_word:
            return DONE, n, i
        if n + ROOM > out.size:
            return FULL, n, i
        page = table.page[codes[i] // PAGE]
        if page < 0:
            return NO_PAGE, n, np.int64(codes[i]) // PAGE
        entry = page * PAGE + codes[i] % PAGE
        code, kind, order = table.becomes[entry], table.kind[entry], table.order[entry]
        part = -1
        if kind == SEVERAL:
            part = code
            code, kind, order = table.pool[part, 0], table.pool[part, 1], table.pool[part, 2]
        while kind != DROP:
            if kind == SPACE:
                new_word = True
                run = 0
            else:
                if (new_word or kind > LETTER) and n > 0:
                    out[n] = BLANK
                    source[n] = i
                    n += 1
                place = n
                if order == 0:
                    run = 0
                else:  # Unicode's canonical ordering: a stable sort of the marks by their class
                    while n - place < min(run, limit) and orders[place - 1] > order:
                        out[place] = out[place - 1]
                        orders[place] = orders[place - 1]
                        place -= 1
                    orders[place] = order
                    run += 1
                out[place] = code
                source[n] = i  # positions stay in the text's order, as in `tokenizers`
                n += 1
                new_word = kind != LETTER
            if part < 0:
                break
            part += 1
            code, kind, order = table.pool[part, 0], table.pool[part, 1], table.pool[part, 2]
    return DONE, n, len(codes)


@jit(counted=False)
def normalize(codes, table, limit, out, source, orders):
    """What BERT's normalizer makes of a text: every character of it, white space too.

    Parameters
    ----------
    codes, table, limit, out, source, orders
        As of `split`.

    Returns
    -------
    status, size, at : int
        As of `split`.
    """
    n = 0
    run = 0  # marks since the last character of combining class 0
    for i in range(codes.size):
        if n + ROOM > out.size:
            return FULL, n, i
        page = table.page[codes[i] // PAGE]
        if page < 0:
            return NO_PAGE, n, np.int64(codes[i]) // PAGE
        entry = page * PAGE + codes[i] % PAGE
        code, kind, order = table.becomes[entry], table.kind[entry], table.order[entry]
        part = -1
        if kind == SEVERAL:
            part = code
            code, kind, order = table.pool[part, 0], table.pool[part, 1], table.pool[part, 2]
        while kind != DROP:
            place = n
            if kind == IDEOGRAPH:
                out[n], source[n] = BLANK, i
                place = n = n + 1
            if order == 0:
                run = 0
            else:
                while n - place < min(run, limit) and orders[place - 1] > order:
                    out[place] = out[place - 1]
                    orders[place] = orders[place - 1]
                    place -= 1
                orders[place] = order
                run += 1
            out[place], source[n] = code, i
            n += 1
            if kind == IDEOGRAPH:
                out[n], source[n] = BLANK, i
                n += 1
            if part < 0:
                break
            part += 1
            code, kind, order = table.pool[part, 0], table.pool[part, 1], table.pool[part, 2]
    return DONE, n, codes.size


@jit(part=True, counted=False)
def edge(keys, node, code):
    """Where the edge (node, code) is in the hash table, or the empty place where it would be."""
    key = np.uint64(node) << np.uint64(21) | np.uint64(code)
    # Multiplicative hashing, by the golden ratio: the upper half of the product is well mixed.
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (keys.size - 1)
    while keys[slot] != key and keys[slot] != np.uint64(0xFFFFFFFFFFFFFFFF):
        slot = (slot + 1) & (keys.size - 1)
    return slot, key


@jit(counted=False)
def build_trie(codes, ends, roots, ids, keys, children, tokens):
    """Put strings into a trie whose edges lie in one hash table.

    Parameters
    ----------
    codes, ends : (C,) uint32, (S,) int64
        The strings, one after the other, and where each ends.
    roots, ids : (S,) int32
        The node from which a string starts, and the id it stands for.
    keys, children : (2^k,) uint64 and int32
        The table: node * 2^21 + code point, all ones where empty, and the node the edge leads to.
    tokens : (nodes,) int32
        The id of the string that ends at a node, -1 for none.

    Returns
    -------
    nodes : int
        How many there are, the two roots included.
    """
    nodes = 2
    start = 0
    for string in range(ends.size):
        node = roots[string]
        for i in range(start, ends[string]):
            slot, key = edge(keys, node, codes[i])
            if keys[slot] != key:
                keys[slot] = key
                children[slot] = nodes
                nodes += 1
            node = children[slot]
        tokens[node] = ids[string]
        start = ends[string]
    return nodes


@jit(counted=False)
def match(out, size, trie, unknown, limit, ids, firsts, lasts, words, places):
    """Cut words into the longest pieces the vocabulary has, from left to right.

    Parameters
    ----------
    out, size : (N,) int32 and int
        Words with one blank between them, as `split` gives them.
    trie : Trie
    unknown, limit : int
        The id of a word that cannot be cut wholly into pieces, or that has more than `limit` characters.
    ids, firsts, lasts, words : (N,) int32
        Are filled: id, first and last character in `out`, and number of the word, of each piece.
    places : bool
        Whether to fill in more than the ids.

    Returns
    -------
    pieces, word : int
        How many there are.
    """
    n = 0
    word = 0
    begin = 0
    while begin < size:
        end = begin
        while end < size and out[end] != BLANK:
            end += 1
        first = n  # of the word's pieces
        at = begin
        while at < end and end - begin <= limit:
            node = 0 if at == begin else 1
            token, stop = -1, at
            for i in range(at, end):
                slot, key = edge(trie.keys, node, out[i])
                if trie.keys[slot] != key:
                    break
                node = trie.children[slot]
                if trie.tokens[node] >= 0:
                    token, stop = trie.tokens[node], i + 1
            if token < 0:
                break
            ids[n] = token
            if places:
                firsts[n], lasts[n], words[n] = at, stop - 1, word
            n += 1
            at = stop
        if at < end:
            n = first
            ids[n] = unknown
            if places:
                firsts[n], lasts[n], words[n] = begin, end - 1, word
            n += 1
        word += 1
        begin = end + 1
    return n, word


class Short(NamedTuple):
    """What `encode_short` reads, and the room that it writes to."""

    table: Table
    reordered: int  # how far back at most a mark is moved
    trie: Trie
    unknown: int  # the id of a word that cannot be cut wholly into pieces
    limit: int  # characters of a word that can be
    work: np.ndarray  # (3, N) int32: characters, their places, and the ids
    orders: np.ndarray  # (N,) uint8


@jit(counted=False)
def encode_short(codes, short):
    """`split` and `match` in one call, for a text whose call would cost more than its work.

    Parameters
    ----------
    codes : (T,) uint32, or bytes
        Code points.
    short : Kept
        Of a `Short`.

    Returns
    -------
    count : int
        The ids are short.work[2, :count]; -1 where there is no room, or a page of the table is missing.
    """
    s = values_of(short)
    status, size, _ = split(codes, 0, len(codes), s.table, s.reordered, s.work[0], s.work[1], s.orders)
    if status != DONE:
        return -1
    ids = s.work[2]
    return match(s.work[0], size, s.trie, s.unknown, s.limit, ids, ids, ids, ids, False)[0]
