"""The hot loop of byte-level BPE: pieces of UTF-8 bytes to ids.

A piece of at most 15 bytes is its own key, two 64-bit words, and one look into a table of recent pieces answers for most of a
text. What that lacks is looked up among the vocabulary's tokens, and only what is no token either is merged. Longer pieces, and
those of more than 12 ids, have a smaller table of their own. Neither table ever grows: a piece takes the row that its hash names
from whatever was there (5 MB a thread in all), so that a text of any kind and length costs the same memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import copy_four, load64
from minilm.tokenizers.bpe.merging import KEYS, LANE_BITS, SHORT, SYMBOLS, make_scratch, merge_keyed, merge_long, work_size
from minilm.tokenizers.bpe.pair_ranks import NO_RANK
from minilm.tokenizers.bpe.pieces import ROOM, piece_ends
from minilm.tokenizers.bpe.tables import ID_MASK, ID_SHIFT, KEY_BYTES, NOT_ID, WORD_BYTES, Tables, hash_of, key_of, word_of

KEY_IDS, ROW_BITS = 12, 16  # of the table of short pieces
LONG_BYTES, LONG_IDS, LONG_ROW_BITS = 64, 30, 13  # of the table of long ones
WORK_BYTES = 4096  # of pieces that need no room of their own
_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order
_ROW_SHIFT, _LONG_ROW_SHIFT = np.uint64(64 - ROW_BITS), np.uint64(64 - LONG_ROW_BITS)
_COUNT_SHIFT = np.uint64(60)  # in a row's second word: above the piece's length stands the number of ids
_KEY = ~np.uint64(0) >> np.uint64(4)


class State(NamedTuple):
    """What one thread writes to."""

    rows: np.ndarray  # (2**ROW_BITS, 8) uint64: two words of key with the number of ids on top, and room for twelve ids
    row_ids: np.ndarray  # (2**ROW_BITS, 16) int32, the same memory: four words of key, and the ids
    long_keys: np.ndarray  # (2**LONG_ROW_BITS, 8) uint64
    long_ids: np.ndarray  # (2**LONG_ROW_BITS, 32) int32: bytes of the piece, number of ids, ids
    ends: np.ndarray  # (E,) int64
    scratch: np.ndarray  # see `merging.make_scratch`
    work: np.ndarray  # (W,) int64, see `merging.work_size`


def make_state(tables: Tables) -> State:
    """Tables for one thread. What text is likely to hold, the vocabulary's first tokens, is in them from the start."""
    rows = _aligned(1 << ROW_BITS)
    long_keys = np.full((1 << LONG_ROW_BITS, LONG_BYTES // 8), 0, np.uint64)
    long_ids = np.full((1 << LONG_ROW_BITS, LONG_IDS + 2), 0, np.int32)
    _enter_words(rows, rows.view(np.int32), tables.words.slots)
    return State(rows, rows.view(np.int32), long_keys, long_ids, np.empty(ROOM, np.int64), make_scratch(), make_work())


def _aligned(rows: int) -> np.ndarray:
    """Zeros, (rows, 8) uint64, a row a line of the cache."""
    memory = np.full(8 * rows + 8, 0, np.uint64)
    start = -memory.ctypes.data % 64 // 8
    return memory[start : start + 8 * rows].reshape(rows, 8)


def make_work(length: int = WORK_BYTES) -> np.ndarray:
    """Room to merge a piece of `length` bytes."""
    return np.empty(work_size(length), np.int64)


@jit(counted=False)
def _enter_words(rows, row_ids, slots):
    """Enter the tokens with the lowest ids, half as many as there are rows, into those that are empty."""
    for slot in range(slots.shape[0]):
        token = np.intp(slots[slot, 1] >> ID_SHIFT & ID_MASK) - 1
        if 0 <= token < rows.shape[0] // 2:
            first, second = slots[slot, 0], slots[slot, 1] & NOT_ID
            row = hash_of(first, second) >> _ROW_SHIFT
            row ^= np.uint64(rows[row, 1] > 0)  # or the one beside it
            if rows[row, 1] == 0:
                rows[row, 0], rows[row, 1], row_ids[row, 4] = first, second | np.uint64(1) << _COUNT_SHIFT, token


@jit(part=True, counted=False)
def _key_pairs(text, i, length, tables, scratch, lanes):
    """Write the symbols of bytes and the keys of their pairs down for `merge_keyed`: a fixed number, which is a literal."""
    for k in range(lanes):
        byte, next_byte = np.uint64(text[i + k]), np.uint64(text[i + k + 1])
        scratch[SYMBOLS, k + 1] = tables.byte_ids[byte]
        rank = tables.byte_ranks[byte << np.uint64(8) | next_byte] if k < length - 1 else NO_RANK
        scratch[KEYS, k] = np.int32(rank << LANE_BITS | k)


@jit(part=True, counted=False)
def _merge_piece(text, i, length, tables, scratch, out, count):
    """Ids of a piece of at most SHORT bytes by its merges, into out[count:]; returns how many."""
    if length <= 17:
        _key_pairs(text, i, length, tables, scratch, 17)
    elif length <= 33:
        _key_pairs(text, i, length, tables, scratch, 33)
    else:
        _key_pairs(text, i, length, tables, scratch, 64)
    return merge_keyed(scratch, length, tables.merges, out, count)


@jit(part=True, counted=False)
def _merge_long_piece(text, i, length, byte_ids, merges, work, out, count):
    """The same for a longer piece, for which there is room in `work`."""
    for k in range(length):
        work[k] = byte_ids[text[i + k]]
    n = merge_long(work, length, merges)
    for k in range(n):
        out[count + k] = work[k]
    return n


@jit(part=True, counted=False)
def _long_piece(text, i, length, tables, state, out, count):
    """Ids of a piece that is no row of the table of short ones."""
    if length > SHORT:
        return _merge_long_piece(text, i, length, tables.byte_ids, tables.merges, state.work, out, count)
    mixed = np.uint64(length)
    words = (length + 7) // 8
    last = ~np.uint64(0) >> np.uint64(8 * (8 * words - length))
    for k in range(words):
        word = load64(text, i + 8 * k) & (last if k == words - 1 else ~np.uint64(0))
        mixed = (mixed ^ word) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
    row = mixed * _STIR >> _LONG_ROW_SHIFT
    keys, ids = state.long_keys, state.long_ids
    same = ids[row, 0] == length
    for k in range(words):
        word = load64(text, i + 8 * k) & (last if k == words - 1 else ~np.uint64(0))
        same = same and keys[row, k] == word
        keys[row, k] = word
    if same:
        for k in range(ids[row, 1]):
            out[count + k] = ids[row, 2 + k]
        return np.intp(ids[row, 1])
    n = _merge_piece(text, i, length, tables, state.scratch, out, count)
    ids[row, 0] = length if n <= LONG_IDS else 0  # no piece has length 0
    ids[row, 1] = n
    for k in range(min(n, LONG_IDS)):
        ids[row, 2 + k] = out[count + k]
    return n


@jit(part=True, counted=False)
def _new_piece(text, i, length, first, second, hashed, tables, state, out, count):
    """Ids of a short piece that its row does not hold; the row then holds them, unless there are too many.

    What the row held goes to the one beside it, so that two frequent pieces of one row do not drive each other out.
    """
    row = hashed >> _ROW_SHIFT
    beside = row ^ np.uint64(1)
    rows, row_ids = state.rows, state.row_ids
    if rows[beside, 0] == first and rows[beside, 1] & _KEY == second:
        n = np.intp(rows[beside, 1] >> _COUNT_SHIFT)
        for k in range(n):
            out[count + k] = row_ids[beside, 4 + k]
        for k in range(rows.shape[1]):
            rows[row, k], rows[beside, k] = rows[beside, k], rows[row, k]
        return n
    token = word_of(tables.words, first, second, hashed) if length <= WORD_BYTES else -1
    if token >= 0:
        out[count], n = token, 1
    else:
        n = _long_piece(text, i, length, tables, state, out, count)
    if n <= KEY_IDS:
        for k in range(rows.shape[1]):
            rows[beside, k] = rows[row, k]
        rows[row, 0], rows[row, 1] = first, second | np.uint64(n) << _COUNT_SHIFT
        for k in range(n):
            row_ids[row, 4 + k] = out[count + k]
    return n


@jit(counted=False)
def encode(text, i, stop, tables, state, out):
    """Encode text[i:stop].

    Parameters
    ----------
    text : (N + PADDING,) uint8
        Valid UTF-8, and zeros.
    i, stop : int
        0 <= i <= stop <= N, both between characters.
    tables : Tables
    state : State
        Of no other thread.
    out : (>= stop - i + KEY_IDS,) int32
        Is written to.

    Returns
    -------
    i, count : int
        Up to where the text is encoded, and the number of ids. Where i < stop stands a piece for which state.work has no room.
    """
    rows, row_ids, ends = state.rows, state.row_ids, state.ends
    count = 0
    while i < stop:
        for k in range(piece_ends(text, i, stop, tables.cutter, tables.parts, ends)):
            length = ends[k] - i
            if length <= KEY_BYTES:
                first, second = key_of(text, i, length)
                hashed = hash_of(first, second)
                row = hashed >> _ROW_SHIFT
                if rows[row, 0] == first and rows[row, 1] & _KEY == second:
                    copy_four(row_ids, row, 4, out, count)  # all four, so that nothing depends on how many there are
                    n = np.intp(rows[row, 1] >> _COUNT_SHIFT)
                    if n > 4:
                        copy_four(row_ids, row, 8, out, count + 4)
                        copy_four(row_ids, row, 12, out, count + 8)
                    count += n
                else:
                    count += _new_piece(text, i, length, first, second, hashed, tables, state, out, count)
            elif 6 * length < state.work.size:
                count += _long_piece(text, i, length, tables, state, out, count)
            else:
                return i, count
            i = ends[k]
    return i, count


def encode_all(text: np.ndarray, size: int, tables: Tables, state: State) -> np.ndarray:
    """Ids (T,), int32, of text[:size], (N + PADDING,) uint8."""
    out = np.empty(size + KEY_IDS, np.int32)  # at most an id a byte; memory that is not written to is not taken either
    i, total = encode(text, 0, size, tables, state, out)
    while i < size:  # at a piece of thousands of bytes, which needs a room of its own
        piece_ends(text, i, size, tables.cutter, 0, state.ends)
        roomy = state._replace(work=make_work(int(state.ends[0]) - i))
        i, count = encode(text, i, size, tables, roomy, out[total:])
        total += count
    out.resize(total, refcheck=False)
    return out
