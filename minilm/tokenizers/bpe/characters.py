"""The ids of single characters, by code point: what most pieces are where no token joins two characters of a script.

Row c of the table is (id, id, id, n): the n <= 3 ids of the character, one a byte at most, and n. Characters of four bytes, from
U+10000 on, have none. The characters of a script stand side by side, so the part of the table that a text needs is small: 2 kB
for Thai.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_merging import merge_bytes
from minilm.tokenizers.bpe.intrinsics import PADDING
from minilm.tokenizers.bpe.merging import make_scratch
from minilm.tokenizers.bpe.words import hash_of, key_of, word_of

CODES, MOST_IDS = 1 << 16, 3
# By the highest four bits of a character's first byte, four bits each: its number of bytes; 0 for those of four.
_WIDTHS = np.uint64(0x0322_1111_1111_1111)


def make_characters(bytes_, words) -> np.ndarray:
    """The table, (65536, 4) int32, of ByteMerges and Words."""
    table = np.zeros((CODES, MOST_IDS + 1), np.int32)
    _fill(table, bytes_, words, make_scratch(), np.zeros(MOST_IDS + PADDING, np.uint8), np.zeros(MOST_IDS, np.int32))
    return table


@jit(counted=False)
def _fill(table, bytes_, words, scratch, text, ids):
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


@jit(part=True, counted=False)
def width_of(first):
    """Bytes of the character that begins in the lowest byte of a word; 0 if they are four."""
    return np.int64(_WIDTHS >> (first >> np.uint64(2) & np.uint64(0x3C)) & np.uint64(15))


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
    return np.intp(table[code, MOST_IDS])
