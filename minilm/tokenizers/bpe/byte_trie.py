"""What is known of every character, by its UTF-8: a trie of bytes in one table, walked without a branch for most texts.

A word of the table says where the words of the next byte begin; behind a character's last byte zeros follow::

    by the first byte     256 words
    by the second one     a word a character of ASCII, else 64 a first byte
    by the third one      the characters of one and two bytes; 64 words a pair of bytes, of characters in pages, equal ones once
    by the fourth one     the same pages, to which characters of four bytes take a step more
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import load64, word_at

CODES = 0x110000
_SECONDS = 256  # where the words of second bytes begin
_LONG = _SECONDS + 128 + 64 * (0x100 - 0xC0)  # and those of the third bytes of characters of four
_PAGES = _LONG + (CODES - 0x10000 >> 6)
# By the highest four bits of a character's first byte, four bits each: its number of bytes.
_WIDTHS = np.uint64(0x4322_1111_1111_1111)
_ALL = ~np.uint64(0)


def make_trie(kinds: np.ndarray) -> np.ndarray:
    """The table, (W,) uint32, of what is to be known of every code point, (CODES,) uint32."""
    numbers: dict[bytes, int] = {}
    of_page = [numbers.setdefault(page.tobytes(), len(numbers)) for page in kinds.reshape(-1, 64)]
    pages = np.array(of_page, np.uint32) * 64 + _PAGES  # (CODES / 64,): where each begins
    table = np.zeros(_PAGES, np.uint32)
    table[:128] = _SECONDS + np.arange(128)
    table[0xC0:256] = _SECONDS + 128 + 64 * np.arange(0x40)
    seconds = table[_SECONDS + 128 : _LONG].reshape(0x40, 64)  # by the first byte from C0 on
    within = np.arange(64, dtype=np.uint32)
    table[_SECONDS : _SECONDS + 128] = (pages[:2, None] + within).reshape(-1)
    seconds[:0x20] = pages[:0x20, None] + within
    seconds[0x20:0x30] = pages[: 0x10 << 6].reshape(0x10, 64)
    longest = CODES - 0x10000 >> 12  # pairs of a first and a second byte
    seconds[0x30:].reshape(-1)[0x10 : 0x10 + longest] = _LONG + 64 * np.arange(longest)
    table[_LONG:_PAGES] = pages[0x10000 >> 6 :]
    return np.concatenate([table, np.frombuffer(b"".join(numbers), np.uint32)])


@jit(part=True, counted=False)
def width_of(first):
    """Bytes of the character that begins in the lowest byte of a word."""
    return np.int64(_WIDTHS >> (first >> np.uint64(2) & np.uint64(0x3C)) & np.uint64(15))


@jit(part=True, counted=False)
def character_at(text, i):
    """The bytes of the character that begins at byte i of valid UTF-8 as a word, the first one lowest, and how many they are."""
    word = load64(text, i)
    width = width_of(word)
    return np.int64(word & _ALL >> np.uint64(64 - 8 * width)), width


@jit(part=True, counted=False)
def kind_of(table, content):
    """What a table that begins with the trie has of a character of these bytes, the first one lowest."""
    place = word_at(table, content & 0xFF)
    place = word_at(table, place + (content >> 8 & 0x3F))
    kind = word_at(table, place + (content >> 16 & 0x3F))
    return kind if content < 1 << 24 else word_at(table, kind + (content >> 24 & 0x3F))
