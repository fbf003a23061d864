"""The cut of a text into pieces, on UTF-8 bytes, as a pattern's automaton says (see `patterns.automaton`).

For each character the kernel looks up its class and the state that follows; the place where a piece ends is written down
without a branch, since what costs time in a scan is that the length of the next word cannot be predicted. With GPT-2's pattern ::

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

`ascii_starts` finds the pieces of 64 bytes of ASCII at once, for the patterns of most models.

Within a piece the scan may also cut where no token joins the characters on both sides (see `joins`): the merges of both parts are
then those of the whole.

References
----------
A. Radford et al., Language models are unsupervised multitask learners, 2019, section 2.2, and the published encoder.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe import ascii_starts, patterns
from minilm.tokenizers.bpe.ascii_starts import CLASS, class_starts, may_begin, word_starts
from minilm.tokenizers.bpe.byte_trie import character_at, kind_of, make_trie
from minilm.tokenizers.bpe.intrinsics import BLOCK, PADDING, byte_at, bytes_in, ones, put, trailing_zeros, word_at
from minilm.tokenizers.bpe.patterns.automaton import BACK, ENDS, MAY_END, STATE

FEW, MANY = 24, 256  # bytes looked at one by one before the next are looked at together again, the latter where few are ASCII
LEAST = 16  # bytes that are worth looking at together
LONG = 4096  # characters of a text whose UTF-8 is worth asking for by address
ROOM = 1024  # ends of pieces that are written down together
JOINS_BEFORE, JOINS_AFTER = 0x100, 0x200  # beside CLASS in a character's entry in `Cutter.table`
PAIR_BITS = 17  # of the table of pairs that tokens join
_utf8 = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.POINTER(ctypes.c_ssize_t))(
    ("PyUnicode_AsUTF8AndSize", ctypes.pythonapi)
)
_ASCII = {
    (patterns.GPT2,): ascii_starts.BY_CLASS,
    (patterns.QWEN2,): ascii_starts.SINGLE_DIGITS,
    (patterns.CL100K,): ascii_starts.THREE_DIGITS,
    (patterns.O200K,): ascii_starts.CASED,
}
_ZEROS = bytes(PADDING)
_ONE = np.uint64(1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
_PAIR_SHIFT = np.uint64(64 - PAIR_BITS)


class Cutter(NamedTuple):
    """What a text is cut by.

    All in one table, so that the loop over characters keeps one address: a trie with a word a character, its class and whether it
    joins all that is before or after it (`byte_trie`); bits, one set for every pair of characters that some token joins
    (`pair_bit`); and the automaton's steps.
    """

    table: np.ndarray  # (W + 2**PAIR_BITS / 32 + S * K,) uint32
    pairs: int  # where the bits begin in `table`
    start: int  # the state at the begin of a piece: where its row begins in `table`
    end: int  # the class of the text's end
    ascii: int  # what of `ascii_starts` cuts as the automaton does
    capital: int  # the class of capitals beyond ASCII
    small: int  # and of small letters, the same where the pattern tells no cases apart


def make_cutter(expressions: tuple[str, ...], joins: np.ndarray | None = None, pairs: np.ndarray | None = None) -> Cutter:
    """A cutter by a pattern.

    Parameters
    ----------
    expressions : tuple of str
        See `patterns.of`.
    joins : (0x110000,) uint32, optional
        JOINS_BEFORE and JOINS_AFTER of every character. Without, only whole pieces may be asked for.
    pairs : (2**PAIR_BITS / 32,) uint32, optional
    """
    automaton = patterns.automaton_of(expressions)
    kinds = automaton.classes.astype(np.uint32)  # (0x110000,)
    if joins is not None:
        kinds = kinds | joins
    trie = make_trie(kinds)  # (W,)
    if pairs is None:
        pairs = np.zeros((1 << PAIR_BITS) // 32, np.uint32)
    steps = len(trie) + len(pairs)
    table = np.concatenate([trie, pairs, automaton.steps + steps], dtype=np.uint32)
    capital, small = (int(automaton.classes[ord(letter)]) for letter in "Àà")
    return Cutter(table, len(trie), steps, automaton.end, _ASCII.get(expressions, ascii_starts.NONE), capital, small)


@jit(part=True, counted=False)
def pair_bit(before, after):
    """Which bit of the table of pairs stands for two neighbouring characters, by the bytes of each as a word."""
    return np.intp((np.uint64(before) << np.uint64(32) | np.uint64(after)) * _SPREAD >> _PAIR_SHIFT)


@jit(part=True, counted=False)
def _scan(text, i, stop, enough, cutter, parts, ends, count):
    """Write down ends of pieces from the one that begins at byte i on: at least one, and all of the next `enough` bytes.

    Returns
    -------
    i, count : int
        Where the last of these pieces ends, and the number of ends; count is -1 where there is no room for all parts of a piece.
    """
    enough = min(i + enough, stop)
    last, last_count = i, count  # the last place where the piece may end
    state, before = cutter.start, 0
    joins = 1  # bit 0: nor is what is before a piece part of it
    while count < ends.size - 1:
        content, width, kind = 0, 0, cutter.end
        if i < stop:
            content, width = character_at(text, i)
            kind = kind_of(cutter.table, content)
        entry = word_at(cutter.table, state + (kind & CLASS))
        if entry & BACK:
            i, count = last, last_count
            put(ends, count, i)
            count += 1
            if i >= enough:
                return i, count
            last, last_count, state, joins = i, count, cutter.start, 1
            continue
        if entry & (ENDS | MAY_END):
            last, last_count = i, count
        bit = pair_bit(before, content)
        joins |= kind >> 8 | word_at(cutter.table, cutter.pairs + (bit >> 5)) >> (bit & 31)
        ended = entry >> 31
        put(ends, count, i)
        count += ended | ~joins & parts
        if ended & (i >= enough):
            return i, count
        state, before, joins = entry & STATE, content, kind >> 9
        i += width
    return i, -1


@jit(counted=False)
def piece_ends(text, i, stop, cutter, parts, ends):
    """Where pieces end, from the one that begins at byte i on, until the text or the room for them ends.

    Parameters
    ----------
    text : (N + PADDING,) uint8
        Valid UTF-8, and zeros from `stop` on.
    i, stop : int
        0 <= i <= stop <= N, both between characters; the text ends at `stop`.
    cutter : Cutter
    parts : int
        1 to cut pieces also within, where no token joins their characters, 0 for whole pieces.
    ends : (ROOM,) int64
        Is written to.

    Returns
    -------
    count : int
        Number of ends; there are more if ``ends[count - 1] < stop``. The last one is the end of a piece.
    """
    count = 0
    while i < stop and count + MANY <= ends.size:
        starts = np.uint64(0)
        if cutter.ascii and stop - i >= LEAST and may_begin(byte_at(text, i)) and may_begin(byte_at(text, i + 1)):
            if cutter.ascii == ascii_starts.BY_CLASS:
                starts = class_starts(text, i, stop - i)
            else:
                starts = word_starts(text, i, stop - i, cutter)
        if starts:
            begin = i
            while starts:
                i = begin + np.intp(trailing_zeros(starts))
                ends[count] = i
                count += 1
                starts &= starts - _ONE
            continue
        begin, used = i, count
        enough = FEW if stop - i < BLOCK or 2 * ones(bytes_in(text, i, 0, 0x80, 128)) < BLOCK else MANY
        i, count = _scan(text, begin, stop, enough, cutter, parts, ends, used)
        if count < 0:
            if used:
                return used
            i, count = _scan(text, begin, stop, enough, cutter, 0, ends, used)
    return count


def padded(text: str) -> tuple[np.ndarray, int]:
    """UTF-8 of a text, (N + PADDING,) uint8, and N. UnicodeEncodeError for a lone surrogate.

    A str keeps its UTF-8 once it was asked for it by address; `encode` writes it anew each time, as slowly as pieces are cut.
    """
    if len(text) < LONG:
        content = text.encode("utf-8")
        return np.frombuffer(bytearray(content + _ZEROS), np.uint8), len(content)  # of bytes it would be of a type of its own
    size = ctypes.c_ssize_t()
    address = _utf8(text, ctypes.byref(size))
    array = np.empty(size.value + PADDING, np.uint8)  # (N + PADDING,)
    ctypes.memmove(array.ctypes.data, address, size.value)
    array[size.value :] = 0
    return array, size.value
