"""The hot loop of byte-level BPE: pieces of UTF-8 bytes to ids.

A piece of at most 15 bytes is its own key, two 64-bit words, and one look into a table of recent pieces answers for most of a
text. What that lacks is looked up among the vocabulary's tokens, and only what is no token either is merged. Longer pieces,
and those of more than 4 ids, have a smaller table of their own. Neither table ever grows: a piece takes the row that its hash
names from
whatever was there (5 MB a thread in all), so that a text of any kind and length costs the same memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.merging import (
    NO_RANK,
    SHORT,
    Merges,
    make_merges,
    make_scratch,
    merge_long,
    merge_ranked,
    merge_short,
    set_rank,
    work_size,
)
from minilm.tokenizers.bpe.joins import with_tokens
from minilm.tokenizers.bpe.pieces import PADDING, ROOM, Cutter, load64, make_cutter, piece_ends

KEY_BYTES, KEY_IDS, ROW_BITS = 15, 4, 16  # of the table of short pieces
LONG_BYTES, LONG_IDS, LONG_ROW_BITS = 64, 30, 14  # of the table of long ones
WORK_BYTES = 4096  # of pieces that need no room of their own
_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order
_ROW_SHIFT, _LONG_ROW_SHIFT = np.uint64(64 - ROW_BITS), np.uint64(64 - LONG_ROW_BITS)
# By a piece's length: which bits of its first and of its second eight bytes count.
_FIRST = np.array([2 ** (8 * min(n, 8)) - 1 for n in range(KEY_BYTES + 1)], np.uint64)  # (16,)
_SECOND = np.array([2 ** (8 * max(n - 8, 0)) - 1 for n in range(KEY_BYTES + 1)], np.uint64)  # (16,)


class Words(NamedTuple):
    """The tokens of at most KEY_BYTES bytes, by their bytes."""

    keys: np.ndarray  # (S, 2) uint64, zero where there is none; S a power of two
    ids: np.ndarray  # (S,) int32
    shift: np.uint64  # 64 - log2(S)


class State(NamedTuple):
    """What one thread writes to."""

    rows: np.ndarray  # (2**ROW_BITS, 4) uint64: two words of key, four ids of which those not needed are -1
    row_ids: np.ndarray  # (2**ROW_BITS, 8) int32, the same memory
    long_keys: np.ndarray  # (2**LONG_ROW_BITS, 8) uint64
    long_ids: np.ndarray  # (2**LONG_ROW_BITS, 32) int32: bytes of the piece, number of ids, ids
    ends: np.ndarray  # (E,) int64
    scratch: np.ndarray  # see `merging.make_scratch`
    work: np.ndarray  # (W,) int64, see `merging.work_size`


class Tables(NamedTuple):
    """What all threads read."""

    cutter: Cutter
    byte_ids: np.ndarray  # (256,) int32
    byte_ranks: np.ndarray  # (65536,) int32: of the pair of two bytes, the first one high
    merges: Merges
    words: Words


def make_state() -> State:
    """Empty tables for one thread."""
    rows = np.zeros((1 << ROW_BITS, 4), np.uint64)
    long_keys = np.zeros((1 << LONG_ROW_BITS, LONG_BYTES // 8), np.uint64)
    long_ids = np.zeros((1 << LONG_ROW_BITS, LONG_IDS + 2), np.int32)
    return State(rows, rows.view(np.int32), long_keys, long_ids, np.empty(ROOM, np.int64), make_scratch(), make_work())


def make_work(length: int = WORK_BYTES) -> np.ndarray:
    """Room to merge a piece of `length` bytes."""
    return np.empty(work_size(length), np.int64)


def make_tables(expressions: tuple[str, ...], byte_ids: np.ndarray, merges: np.ndarray, tokens: list[bytes]) -> Tables:
    """Tables for a vocabulary.

    Parameters
    ----------
    expressions : tuple of str
        The pattern, see `patterns.of`.
    byte_ids : (256,) int32
        -1 for a byte that no text has.
    merges : (M, 3) int32
        Left id, right id and the id of both together.
    tokens : list of V bytes
        Empty for what no text encodes to.
    """
    left, right, both = np.ascontiguousarray(merges.T)  # (M,) each
    table = make_merges(left, right, both)
    bits = max((2 * len(tokens)).bit_length(), 10)
    words = Words(np.zeros((1 << bits, 2), np.uint64), np.full(1 << bits, -1, np.int32), np.uint64(64 - bits))
    content = np.frombuffer(b"".join(tokens) + b"\0" * PADDING, np.uint8)  # (N + PADDING,)
    starts = np.cumsum([0, *map(len, tokens)])  # (V + 1,)
    _fill(words, content, starts, byte_ids, table, make_scratch())
    return Tables(with_tokens(make_cutter(expressions), tokens), byte_ids, _byte_ranks(byte_ids, left, right), table, words)


def _byte_ranks(byte_ids, left, right) -> np.ndarray:
    """The ranks of pairs of bytes, (65536,) int32: with these every piece begins, and here they lie close together."""
    byte = np.full(max(byte_ids.max(), left.max(initial=0), right.max(initial=0)) + 1, -1, np.int64)  # (ids,)
    byte[byte_ids[byte_ids >= 0]] = np.flatnonzero(byte_ids >= 0)
    table = np.full(1 << 16, NO_RANK, np.int32)  # (65536,)
    ranks = np.flatnonzero((byte[left] >= 0) & (byte[right] >= 0))  # (b,)
    table[byte[left[ranks]] << 8 | byte[right[ranks]]] = ranks
    return table


@jit(part=True, counted=False)
def key_of(text, i, length):
    """The two words that stand for a piece of at most KEY_BYTES bytes; the second one is never 0."""
    return load64(text, i) & _FIRST[length], load64(text, i + 8) & _SECOND[length] | np.uint64(length) << np.uint64(56)


@jit(part=True, counted=False)
def hash_of(first, second):
    """64 bits of which the high ones serve."""
    mixed = (first ^ second * _STIR) * _SPREAD
    return (mixed ^ mixed >> np.uint64(32)) * _SPREAD


@jit(counted=False)
def _fill(words, tokens, starts, byte_ids, merges, scratch):
    """Enter every token that its own bytes merge to; another would not be what the merges give for that piece."""
    mask = np.uint64(words.ids.size - 1)
    for token in range(starts.size - 1):
        length = starts[token + 1] - starts[token]
        if not 0 < length <= KEY_BYTES:
            continue
        complete = True
        for k in range(length):
            scratch[0, k] = byte_ids[tokens[starts[token] + k]]
            complete = complete and scratch[0, k] >= 0
        if not complete or merge_short(scratch, length, merges) != 1 or scratch[0, 0] != token:
            continue
        first, second = key_of(tokens, starts[token], length)
        slot = hash_of(first, second) >> words.shift
        while words.ids[slot] >= 0:
            slot = slot + np.uint64(1) & mask
        words.keys[slot, 0], words.keys[slot, 1], words.ids[slot] = first, second, token


@jit(part=True, counted=False)
def _merge_piece(text, i, length, tables, scratch, out, count):
    """Ids of a piece of at most SHORT bytes by its merges, into out[count:]; returns how many."""
    for k in range(length):
        scratch[0, k] = tables.byte_ids[text[i + k]]
    for k in range(length - 1):
        set_rank(scratch, k, tables.byte_ranks[np.intp(text[i + k]) << 8 | np.intp(text[i + k + 1])])
    n = merge_ranked(scratch, length, tables.merges)
    for k in range(n):
        out[count + k] = scratch[0, k]
    return n


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
    if length > LONG_BYTES:
        return _merge_piece(text, i, length, tables, state.scratch, out, count)
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
def _new_piece(text, i, length, first, second, row, tables, state, out, count):
    """Ids of a short piece that its row does not hold; the row then holds them, unless there are too many."""
    words = tables.words
    mask = np.uint64(words.ids.size - 1)
    slot = hash_of(first, second) >> words.shift
    n = 0
    while words.ids[slot] >= 0:
        if words.keys[slot, 0] == first and words.keys[slot, 1] == second:
            out[count] = words.ids[slot]
            n = 1
            break
        slot = slot + np.uint64(1) & mask
    if n == 0:
        n = _long_piece(text, i, length, tables, state, out, count)
    if n <= KEY_IDS:
        state.rows[row, 0], state.rows[row, 1] = first, second
        for k in range(KEY_IDS):
            state.row_ids[row, KEY_IDS + k] = out[count + k] if k < n else -1
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
        for k in range(piece_ends(text, i, stop, tables.cutter, True, ends)):
            length = ends[k] - i
            if length <= KEY_BYTES:
                first, second = key_of(text, i, length)
                row = hash_of(first, second) >> _ROW_SHIFT
                if rows[row, 0] == first and rows[row, 1] == second:
                    for each in range(KEY_IDS):  # all of them, so that nothing depends on how many there are
                        out[count + each] = row_ids[row, KEY_IDS + each]
                    count += 1 + (row_ids[row, 5] >= 0) + (row_ids[row, 6] >= 0) + (row_ids[row, 7] >= 0)
                else:
                    count += _new_piece(text, i, length, first, second, row, tables, state, out, count)
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
        piece_ends(text, i, size, tables.cutter, False, state.ends)
        roomy = state._replace(work=make_work(int(state.ends[0]) - i))
        i, count = encode(text, i, size, tables, roomy, out[total:])
        total += count
    out.resize(total, refcheck=False)
    return out
