"""The tables of pieces that a thread has met, and the look-ups of tokens and characters that need no merges.

A piece of at most 15 bytes is its own key, two words of 64 bits. What its row lacks is looked up in the row beside it, by its
code point if it is one character, then among the vocabulary's tokens. Pieces of 16 to 62 bytes have a table of their own. Neither
table grows with what it holds: a piece takes the row that its hash names, its home, and what was there the row beside it.

The fast path looks only into the home. So a piece that is found beside it changes places with what is there. A new piece moves
what it finds in its home to the row beside it only if that is at home there too; else it overwrites it. Moved on, back to its
own home, that would drive out the piece that took its place, which would drive it out again, text after text. (German
paragraphs, warm: 2 % of the pieces were merged again each time, .6 % without those.)
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_trie import width_of
from minilm.tokenizers.bpe.characters import MOST_IDS, copy_character, is_of_characters
from minilm.tokenizers.bpe.intrinsics import load64
from minilm.tokenizers.bpe.words import WORD_BYTES, hash_of, word_of

KEY_IDS = 12  # of a short piece, that its row has room for
LONG_COLUMNS = 32  # of 32 bits: in the first a long piece's length and number of ids, from the third on its bytes, then the ids
COUNT_SHIFT = np.uint64(60)  # in a row's second word: above the piece's length stands the number of ids
KEY_MASK = ~np.uint64(0) >> np.uint64(4)
_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order
_ONE = np.uint64(1)


@jit(part=True, counted=False)
def _copy_row(rows, row, beside, words):
    """What a row of `words` words, a literal, holds goes to the one beside it too."""
    for k in range(words):
        rows[beside, k] = rows[row, k]


@jit(part=True, counted=False)
def known_ids(text, i, length, first, second, hashed, tables, state, out, count):
    """The ids of a short piece that are known without merges, into out[count:]; returns how many, or -1.

    Where the row is empty nothing has ever gone from it to the row beside it, which need not be read then.
    """
    rows, row_ids, row = state.rows, state.row_ids, hashed >> state.shift
    beside = row ^ _ONE
    if rows[row, 1] and rows[beside, 0] == first and rows[beside, 1] & KEY_MASK == second:
        n = np.intp(rows[beside, 1] >> COUNT_SHIFT)
        for k in range(n):
            out[count + k] = row_ids[beside, 4 + k]
        return n
    if length == width_of(first) and length <= MOST_IDS:
        return copy_character(tables.characters, first, length, out, count)
    if tables.parts and is_of_characters(text, i, length):
        return -1  # few symbols, whose merges take less long than the look for a token in a table that is out of the cache
    token = word_of(tables.words, first, second, hashed) if length <= WORD_BYTES else -1
    out[count] = token
    return 1 if token >= 0 else -1


@jit(part=True, counted=False)
def keep_short(first, second, hashed, state, out, count, n):
    """The row of a short piece holds its n ids out[count : count + n], and the row beside it what was at home in the row."""
    rows, row_ids, row = state.rows, state.row_ids, hashed >> state.shift
    if rows[row, 1]:
        at_home = hash_of(rows[row, 0], rows[row, 1] & KEY_MASK) >> state.shift == row
        _copy_row(rows, row, row ^ np.uint64(at_home), 8)  # or onto itself, instead of a branch that no processor can predict
    rows[row, 0], rows[row, 1] = first, second | np.uint64(n) << COUNT_SHIFT
    for k in range(n):
        row_ids[row, 4 + k] = out[count + k]


@jit(part=True, counted=False)
def _word(text, i, length, k):
    """Eight bytes of a piece from its byte 8 k on, with zeros where it ends."""
    beyond = max(8 * (k + 1) - length, 0)
    return load64(text, i + 8 * k) & ~np.uint64(0) >> np.uint64(8 * beyond)


@jit(part=True, counted=False)
def long_hash(text, i, length):
    """The hash of a piece of more than KEY_BYTES bytes."""
    mixed = np.uint64(length)
    for k in range((length + 7) // 8):
        mixed = (mixed ^ _word(text, i, length, k)) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
    return mixed * _STIR


@jit(part=True, counted=False)
def known_long(text, i, length, hashed, state, out, count):
    """Ids of a piece of KEY_BYTES + 1 to SHORT bytes that one of its two rows holds, or -1."""
    rows, ids = state.long_rows, state.long_ids
    row = hashed >> state.long_shift
    words = (length + 7) // 8
    for place in (row, row ^ _ONE):
        same = ids[place, 0] == length
        for k in range(words):
            same = same and rows[place, 1 + k] == _word(text, i, length, k)
        if same:
            n = np.intp(ids[place, 1])
            for k in range(n):
                out[count + k] = ids[place, 2 + 2 * words + k]
            return n
    return -1


@jit(part=True, counted=False)
def keep_long(text, i, length, hashed, state, out, count, n):
    """A row holds the n ids out[count : count + n] of a long piece, unless they are too many."""
    rows, ids = state.long_rows, state.long_ids
    row = hashed >> state.long_shift
    words = (length + 7) // 8
    if 2 + 2 * words + n <= LONG_COLUMNS:
        if ids[row, 0]:
            _copy_row(rows, row, row ^ _ONE, LONG_COLUMNS // 2)
        ids[row, 0], ids[row, 1] = length, n
        for k in range(words):
            rows[row, 1 + k] = _word(text, i, length, k)
        for k in range(n):
            ids[row, 2 + 2 * words + k] = out[count + k]
