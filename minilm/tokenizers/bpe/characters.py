"""The ids of single characters, by code point: what most pieces are where no token joins two characters of a script.

Row c of the table is (id, id, id, n): the n <= 3 ids of the character, one a byte at most, and n. Characters of four bytes, from
U+10000 on, have none. The characters of a script stand side by side, so the part of the table that a text needs is small: 2 kB
for Thai.

A piece of several characters begins its merges as the ids of those that are `settled`: four ideographs as four symbols or a few
more, instead of twelve bytes.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_merging import merge_bytes
from minilm.tokenizers.bpe.intrinsics import PADDING, byte_at
from minilm.tokenizers.bpe.merging import KEYS, LANE_BITS, NO_KEY, SYMBOLS, make_scratch, merge_keyed
from minilm.tokenizers.bpe.pair_ranks import rank_of
from minilm.tokenizers.bpe.settled import edge_ranks, settled_symbols
from minilm.tokenizers.bpe.words import hash_of, key_of, word_of

CODES, MOST_IDS = 1 << 16, 3
SETTLED = 4  # above n in a row's last column


def make_characters(bytes_, words, merges: np.ndarray, tokens: list[bytes]) -> np.ndarray:
    """The table, (65536, 4) int32, of ByteMerges and Words, which are those of these merges (M, 3) int32 and V tokens."""
    table = np.zeros((CODES, MOST_IDS + 1), np.int32)
    text, ids = np.zeros(MOST_IDS + PADDING, np.uint8), np.zeros((2, MOST_IDS), np.int32)
    _fill(table, bytes_, words, *edge_ranks(merges, tokens), make_scratch(), text, *ids)
    return table


@jit(counted=False)
def _fill(table, bytes_, words, as_right, as_left, scratch, text, ids, symbols):
    for code in range(CODES):
        if 0xD800 <= code < 0xE000:
            continue  # half of a character of UTF-16
        if code < 0x80:
            width, text[0] = 1, code
        elif code < 0x800:
            width, text[0], text[1] = 2, 0xC0 | code >> 6, 0x80 | code & 0x3F
        else:
            width, text[0], text[1], text[2] = 3, 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
        text[width] = 0
        first, second = key_of(text, 0, width)
        token = word_of(words, first, second, hash_of(first, second))
        if token >= 0:
            table[code, 0], table[code, MOST_IDS] = token, 1
        elif bytes_.ids[text[0]] >= 0:
            table[code, MOST_IDS] = merge_bytes(text, 0, width, bytes_, scratch, ids, 0)
            for k in range(MOST_IDS):
                table[code, k] = ids[k]
        if width > 1 and bytes_.ids[text[0]] >= 0:
            n = settled_symbols(text, width, bytes_, as_right, as_left, symbols)
            if n == table[code, MOST_IDS] and (n > 1 or symbols[0] == table[code, 0]):  # not so if the whole is a token unmerged
                table[code, MOST_IDS] |= SETTLED


@jit(part=True, counted=False)
def copy_character(table, first, width, out, count):
    """Ids of the character in the `width` <= 3 lowest bytes of a word, into out[count:]; returns how many."""
    n = np.uint64(width)
    lead = first & np.uint64(0xFF) >> (n + np.uint64(width > 1))
    bits = (lead << np.uint64(6) | first >> np.uint64(8) & np.uint64(0x3F)) << np.uint64(6) | first >> np.uint64(16) & np.uint64(
        0x3F
    )
    code = bits >> np.uint64(18) - np.uint64(6) * n
    for k in range(MOST_IDS):
        out[count + k] = table[code, k]
    return np.intp(table[code, MOST_IDS] & MOST_IDS)


@jit(part=True, counted=False)
def is_of_characters(text, i, length):
    """Whether a piece has so many characters of several bytes that `merge_characters` is worth its while."""
    return byte_at(text, i + length - 1) >= 0x80 and byte_at(text, i + 1) >= 0x80


@jit(part=True, counted=False)
def merge_characters(text, i, length, bytes_, table, scratch, out, count):
    """Ids of text[i : i + length], 1 < length <= SHORT, into out[count:]; returns how many.

    A settled character is begun as its ids if there are no characters of one byte beside it, any other as its bytes.
    """
    stop, n, before = i + length, 0, 0x80
    while i < stop:
        lead, width, code = byte_at(text, i), 1, 0
        if lead >= 0xF0:
            width = 4
        elif lead >= 0xE0:
            width, code = 3, (lead & 0xF) << 12 | (byte_at(text, i + 1) & 0x3F) << 6 | byte_at(text, i + 2) & 0x3F
        elif lead >= 0xC0:
            width, code = 2, (lead & 0x1F) << 6 | byte_at(text, i + 1) & 0x3F
        ids = table[np.uint64(code)]
        apart = before >= 0x80 and (i + width == stop or byte_at(text, i + width) >= 0x80)
        if code > 0 and apart and ids[MOST_IDS] >= SETTLED:
            for k in range(ids[MOST_IDS] & MOST_IDS):
                scratch[SYMBOLS, n + 1 + k] = ids[k]
            n += ids[MOST_IDS] & MOST_IDS
        else:
            for k in range(width):
                scratch[SYMBOLS, n + 1 + k] = bytes_.ids[byte_at(text, i + k)]
            n += width
        before = lead
        i += width
    for k in range(16 if n <= 17 else 32 if n <= 33 else 64):
        scratch[KEYS, k] = NO_KEY
    for k in range(n - 1):
        rank = rank_of(bytes_.merges, scratch[SYMBOLS, k + 1], scratch[SYMBOLS, k + 2])
        scratch[KEYS, k] = np.int32(rank << LANE_BITS | k)
    return merge_keyed(scratch, n, bytes_.merges, out, count)
