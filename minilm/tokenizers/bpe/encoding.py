"""The hot loop of byte-level BPE: pieces of UTF-8 bytes to ids.

A piece of at most 15 bytes is its own key, two words of 64 bits, and one look into a table of recent pieces answers for most of a
text. What that lacks is looked up by its code point if it is one character, then among the vocabulary's tokens, and only what is
neither is merged. Pieces of 16 to 62 bytes have a table of recent pieces of their own. Neither table grows with what it holds: a
piece takes the row that its hash names, what was there the row beside it. Both are small (256 kB) until a thread has encoded
FEW_BYTES, so that a short text does not pay for them, and then 8 MB whatever comes.

Where the time goes (AMD EPYC, znver5, one thread, GPT-2's vocabulary, Chinese paragraphs of XQuAD, 228 kB). Warm, a part of a
piece costs 8.5 ns: 3.8 to cut it, 1.4 to hash it, 3.2 to look it up. Cold, each of the 5,318 distinct parts costs 90 ns more,
and up to 250 ns if a pause emptied the caches: its rows, characters, tokens and merges are then read from memory. English,
warm, costs 7.3 ns a piece, 1.6 to cut, 1.7 to hash, 4 to look up. Tried, and slower: one character's ids from their table
without its row (1.3 to 1.6 times the time: whether a part is one character cannot be predicted); a cut by the symbols that
settled characters begin and end with (a tenth to a half fewer parts to merge, but the cut takes 1.3 times as long); asking for
the characters and tokens of a block's new parts together (nothing gained); asking for both rows of pieces that are known (4 %
slower).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import entry_point, jit
from minilm.tokenizers.bpe.byte_merging import SHORT, merge_bytes, merge_many_bytes
from minilm.tokenizers.bpe.byte_trie import width_of
from minilm.tokenizers.bpe.characters import MOST_IDS, copy_character, is_of_characters, merge_characters
from minilm.tokenizers.bpe.intrinsics import PADDING, copy_four, load64, prefetch_row
from minilm.tokenizers.bpe.large_pages import zeros
from minilm.tokenizers.bpe.merging import make_scratch, work_size
from minilm.tokenizers.bpe.pieces import ROOM, padded, piece_ends
from minilm.tokenizers.bpe.tables import Tables
from minilm.tokenizers.bpe.words import ID_MASK, ID_SHIFT, KEY_BYTES, NOT_ID, WORD_BYTES, hash_of, key_of, word_of

KEY_IDS, ROW_BITS = 12, 16  # of the table of short pieces
LONG_ROW_BITS = 15  # of the table of long pieces
FEW_BITS, FEW_BYTES = 5, 1 << 16  # by how many bits fewer name a row at first, and how many bytes of text that serves
LONG_COLUMNS = 32  # of 32 bits: in the first a long piece's length and number of ids, from the third on its bytes, then the ids
WORK_BYTES = 4096  # of pieces that need no room of their own
SHORT_TEXT = 512  # characters of a text for which the room of a state serves, so that no array is made but that of its ids
_ZEROS = bytes(PADDING)
_SPREAD, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, their bits in no order
_COUNT_SHIFT = np.uint64(60)  # in a row's second word: above the piece's length stands the number of ids
_KEY = ~np.uint64(0) >> np.uint64(4)
_ONE = np.uint64(1)


class State(NamedTuple):
    """What one thread writes to."""

    rows: np.ndarray  # (2**ROW_BITS, 8) uint64: two words of key with the number of ids on top, and room for twelve ids
    row_ids: np.ndarray  # (2**ROW_BITS, 16) int32, the same memory: four words of key, and the ids
    long_rows: np.ndarray  # (2**LONG_ROW_BITS, 16) uint64: length and number of ids, the bytes, the ids
    long_ids: np.ndarray  # (2**LONG_ROW_BITS, 32) int32, the same memory
    ends: np.ndarray  # (ROOM,) int64
    hashes: np.ndarray  # (ROOM,) uint64: of the short ones among the pieces that end there
    scratch: np.ndarray  # see `merging.make_scratch`
    work: np.ndarray  # (W,) int64, see `merging.work_size`
    shift: np.uint64  # 64 less the bits of a hash that name a row of `rows`
    long_shift: np.uint64  # and of `long_rows`
    encoded: np.ndarray  # (1,) int64: bytes of text
    text: np.ndarray  # (4 * SHORT_TEXT + PADDING,) uint8: a short text
    ids: np.ndarray  # (4 * SHORT_TEXT + KEY_IDS,) int32: and its ids


def make_state(tables: Tables, few: bool = False) -> State:
    """Tables for one thread, or, for a `few` bytes of text, small ones.

    What text is likely to hold, the vocabulary's first tokens, is in large ones from the start.
    """
    bits, long_bits = (ROW_BITS - FEW_BITS, LONG_ROW_BITS - FEW_BITS) if few else (ROW_BITS, LONG_ROW_BITS)
    make = np.zeros if few else zeros
    rows, long_rows = make((1 << bits, 8), np.uint64), make((1 << long_bits, LONG_COLUMNS // 2), np.uint64)
    row_ids, long_ids = rows.view(np.int32), long_rows.view(np.int32)
    shift, long_shift = np.uint64(64 - bits), np.uint64(64 - long_bits)
    if not few:
        _enter_words(rows, row_ids, tables.words.slots, shift)
    room = np.empty(ROOM, np.int64), np.empty(ROOM, np.uint64), make_scratch(), make_work()
    short = np.empty(4 * SHORT_TEXT + PADDING, np.uint8), np.empty(4 * SHORT_TEXT + KEY_IDS, np.int32)
    return State(rows, row_ids, long_rows, long_ids, *room, shift, long_shift, np.zeros(1, np.int64), *short)


def take_state(states: list[State], tables: Tables, size: int) -> State:
    """A state out of those that no thread writes to, or a new one, for a text of `size` bytes."""
    try:
        state = states.pop()
    except IndexError:
        state = make_state(tables, few=size <= FEW_BYTES)
    if len(state.rows) < 1 << ROW_BITS:
        state.encoded[0] += size
        if state.encoded[0] > FEW_BYTES:
            return make_state(tables)
    return state


def make_work(length: int = WORK_BYTES) -> np.ndarray:
    """Room to merge a piece of `length` bytes."""
    return np.empty(work_size(length), np.int64)


@jit(counted=False)
def _enter_words(rows, row_ids, slots, shift):
    """Enter the tokens with the lowest ids, half as many as there are rows, into those that are empty."""
    for slot in range(slots.shape[0]):
        token = np.intp(slots[slot, 1] >> ID_SHIFT & ID_MASK) - 1
        if 0 <= token < rows.shape[0] // 2:
            first, second = slots[slot, 0], slots[slot, 1] & NOT_ID
            row = hash_of(first, second) >> shift
            row ^= np.uint64(rows[row, 1] > 0)  # or the one beside it
            if rows[row, 1] == 0:
                rows[row, 0], rows[row, 1], row_ids[row, 4] = first, second | np.uint64(1) << _COUNT_SHIFT, token


@jit(part=True, counted=False)
def _copy_row(rows, row, beside, words):
    """What a row of `words` words, a literal, holds goes to the one beside it too."""
    for k in range(words):
        rows[beside, k] = rows[row, k]


@jit(part=True, counted=False)
def _token(text, i, length, first, second, hashed, tables, state, out, count):
    """The ids of a short piece that are known without merges, into out[count:]; returns how many, or -1.

    Where the row is empty nothing has ever gone from it to the row beside it, which need not be read then.
    """
    rows, row_ids, row = state.rows, state.row_ids, hashed >> state.shift
    beside = row ^ _ONE
    if rows[row, 1] and rows[beside, 0] == first and rows[beside, 1] & _KEY == second:
        n = np.intp(rows[beside, 1] >> _COUNT_SHIFT)
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
def _keep_short(first, second, hashed, state, out, count, n):
    """The row of a short piece holds its n ids out[count : count + n], and the row beside it what the row held."""
    rows, row_ids, row = state.rows, state.row_ids, hashed >> state.shift
    if rows[row, 1]:
        _copy_row(rows, row, row ^ _ONE, 8)
    rows[row, 0], rows[row, 1] = first, second | np.uint64(n) << _COUNT_SHIFT
    for k in range(n):
        row_ids[row, 4 + k] = out[count + k]


@jit(part=True, counted=False)
def _word(text, i, length, k):
    """Eight bytes of a piece from its byte 8 k on, with zeros where it ends."""
    beyond = max(8 * (k + 1) - length, 0)
    return load64(text, i + 8 * k) & ~np.uint64(0) >> np.uint64(8 * beyond)


@jit(part=True, counted=False)
def _long_hash(text, i, length):
    """The hash of a piece of more than KEY_BYTES bytes."""
    mixed = np.uint64(length)
    for k in range((length + 7) // 8):
        mixed = (mixed ^ _word(text, i, length, k)) * _SPREAD
        mixed ^= mixed >> np.uint64(29)
    return mixed * _STIR


@jit(part=True, counted=False)
def _long(text, i, length, hashed, state, out, count):
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
def _keep_long(text, i, length, hashed, state, out, count, n):
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


@jit(part=True, counted=False)
def _piece(text, i, length, first, second, hashed, tables, state, out, count):
    """Ids of a piece of at most SHORT bytes that is not the one in its row, into out[count:]; returns how many."""
    if length <= KEY_BYTES:
        n = _token(text, i, length, first, second, hashed, tables, state, out, count)
    else:
        hashed = _long_hash(text, i, length)
        n = _long(text, i, length, hashed, state, out, count)
    known = n >= 0
    if not known:
        if is_of_characters(text, i, length):
            n = merge_characters(text, i, length, tables.bytes, tables.characters, state.scratch, out, count)
        else:
            n = merge_bytes(text, i, length, tables.bytes, state.scratch, out, count)
    if length > KEY_BYTES:
        if not known:
            _keep_long(text, i, length, hashed, state, out, count, n)
    elif n <= KEY_IDS:
        _keep_short(first, second, hashed, state, out, count, n)
    return n


@jit(part=True, counted=False)
def _hash_pieces(text, i, count, state, both):
    """Hashes of the short pieces that end at ends[:count], the first of which begins at i; their rows are on their way then.

    With `both`, for pieces many of which are new, the rows beside these too.
    """
    for k in range(count):
        length = state.ends[k] - i
        if length <= KEY_BYTES:
            first, second = key_of(text, i, length)
            hashed = hash_of(first, second)
            state.hashes[k] = hashed
            prefetch_row(state.rows, np.intp(hashed >> state.shift))
            if both:
                prefetch_row(state.rows, np.intp(hashed >> state.shift ^ _ONE))
        i = state.ends[k]


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
    count, new = 0, 0  # new: of the pieces looked at together before
    while i < stop:
        together = piece_ends(text, i, stop, tables.cutter, tables.parts, ends)
        _hash_pieces(text, i, together, state, 32 * new > together)
        new = 0
        for k in range(together):
            length = ends[k] - i
            if length <= KEY_BYTES:
                first, second = key_of(text, i, length)
                hashed = state.hashes[k]
                row = hashed >> state.shift
                if rows[row, 0] == first and rows[row, 1] & _KEY == second:
                    copy_four(row_ids, row, 4, out, count)  # all four, so that nothing depends on how many there are
                    n = np.intp(rows[row, 1] >> _COUNT_SHIFT)
                    if n > 4:
                        copy_four(row_ids, row, 8, out, count + 4)
                        copy_four(row_ids, row, 12, out, count + 8)
                    count += n
                else:
                    count += _piece(text, i, length, first, second, hashed, tables, state, out, count)
                    new += 1
            elif length <= SHORT:
                count += _piece(text, i, length, _ONE, _ONE, _ONE, tables, state, out, count)
            elif 6 * length < state.work.size:
                count += merge_many_bytes(text, i, length, tables.bytes, state.work, out, count)
            else:
                return i, count
            i = ends[k]
    return i, count


def entry_of(tables: Tables) -> Callable:
    """`encode`, without the look at its arguments' types that would take longer than a sentence does (see `jit.entry_point`)."""
    text, size = padded("")
    return entry_point(encode, text, 0, size, tables, make_state(tables, few=True), np.empty(KEY_IDS, np.int32))


def encode_short(encode: Callable, content: bytes, tables: Tables, state: State) -> np.ndarray:
    """Ids (T,), int32, of the UTF-8 of a text of at most SHORT_TEXT characters; `encode` is from `entry_of`."""
    size = len(content)
    state.text.data[: size + PADDING] = content + _ZEROS
    _, count = encode(state.text, 0, size, tables, state, state.ids)  # no piece is so long that it needs a room of its own
    return state.ids[:count].copy()


def encode_all(encode: Callable, text: np.ndarray, size: int, tables: Tables, state: State) -> np.ndarray:
    """Ids (T,), int32, of text[:size], (N + PADDING,) uint8; `encode` is from `entry_of`."""
    out = np.empty(size + KEY_IDS, np.int32)  # at most an id a byte; memory that is not written to is not taken either
    i, total = encode(text, 0, size, tables, state, out)
    while i < size:  # at a piece of thousands of bytes, which needs a room of its own
        piece_ends(text, i, size, tables.cutter, 0, state.ends)
        roomy = state._replace(work=make_work(int(state.ends[0]) - i))
        i, count = encode(text, i, size, tables, roomy, out[total:])
        total += count
    out.resize(total, refcheck=False)
    return out
