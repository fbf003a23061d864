"""The hot loop of byte-level BPE: pieces of UTF-8 bytes to ids.

One look into a table of recent pieces answers for most of a text (`recent`); only a piece that is neither there, nor one
character, nor a token of the vocabulary is merged. What a thread writes to is its `state`.

Where the time goes (GPT-2's vocabulary, one thread). AMD EPYC, znver5, Chinese paragraphs of XQuAD, 228 kB: warm, a part of a
piece costs 8.5 ns: 3.8 to cut it, 1.4 to hash it, 3.2 to look it up. Cold, each of the 5,318 distinct parts costs 90 ns more,
and up to 250 ns if a pause emptied the caches: its rows, characters, tokens and merges are then read from memory. English,
warm, costs 7.3 ns a piece, 1.6 to cut, 1.7 to hash, 4 to look up; on a znver3 13 ns, 3 to cut, 2.4 to hash, 8 to look up.
Tried, and slower: one character's ids from their table without its row (1.3 to 1.6 times the time: whether a part is one
character cannot be predicted); a cut by the symbols that settled characters begin and end with (a tenth to a half fewer parts to
merge, but the cut takes 1.3 times as long); asking for the characters and tokens of a block's new parts together (nothing
gained); asking for both rows of pieces that are known (4 % slower); fewer pieces looked at together than ROOM (nothing gained).
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import entry_point, jit
from minilm.tokenizers.bpe.byte_merging import SHORT, merge_bytes, merge_many_bytes
from minilm.tokenizers.bpe.characters import is_of_characters, merge_characters
from minilm.tokenizers.bpe.held import Kept, values_of
from minilm.tokenizers.bpe.intrinsics import PADDING, copy_ids, prefetch_row
from minilm.tokenizers.bpe.pieces import padded, piece_ends
from minilm.tokenizers.bpe.recent import COUNT_SHIFT, KEY_IDS, KEY_MASK, keep_long, keep_short, known_ids, known_long, long_hash
from minilm.tokenizers.bpe.state import SHORT_TEXT, make_state, make_work, take_state
from minilm.tokenizers.bpe.tables import Tables
from minilm.tokenizers.bpe.words import KEY_BYTES, hash_of, key_of

_ONE = np.uint64(1)
_LARGER = -1


@jit(part=True, counted=False)
def _piece(text, i, length, first, second, hashed, tables, state, out, count):
    """Ids of a piece of at most SHORT bytes that is not the one in its row, into out[count:]; returns how many."""
    if length <= KEY_BYTES:
        n = known_ids(text, i, length, first, second, hashed, tables, state, out, count)
    else:
        n = known_long(text, i, length, hashed, state, out, count)
    known = n >= 0
    if not known:
        if is_of_characters(text, i, length):
            n = merge_characters(text, i, length, tables.bytes, tables.characters, state.scratch, out, count)
        else:
            n = merge_bytes(text, i, length, tables.bytes, state.scratch, out, count)
    if length > KEY_BYTES:
        if not known:
            keep_long(text, i, length, hashed, state, out, count, n)
    elif n <= KEY_IDS:
        keep_short(first, second, hashed, state, out, count, n)
    return n


@jit(part=True, counted=False)
def _hash_pieces(text, i, count, state, both):
    """Hashes of the pieces that end at ends[:count], the first of which begins at i; their rows are on their way then.

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
        elif length <= SHORT:
            hashed = long_hash(text, i, length)
            state.hashes[k] = hashed
            prefetch_row(state.long_rows, np.intp(hashed >> state.long_shift))
        i = state.ends[k]


@jit(counted=False)
def encode_kernel(text, i, stop, tables, state, out):
    """Encode text[i:stop].

    Parameters
    ----------
    text : (N + PADDING,) uint8
        Valid UTF-8, and zeros from `stop` on.
    i, stop : int
        0 <= i <= stop <= N, both between characters.
    tables, state : Kept
        Of a `Tables` and of a `State`, that of no other thread.
    out : (>= stop - i + KEY_IDS,) int32
        Is written to.

    Returns
    -------
    i, count : int
        Up to where the text is encoded, and the number of ids. Where i < stop stands a piece for which state.work has no room.
    """
    tables, state = values_of(tables), values_of(state)
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
                if rows[row, 0] == first and rows[row, 1] & KEY_MASK == second:
                    copy_ids(row_ids, row, 4, 8, out, count)  # all eight, so that nothing depends on how many there are
                    n = np.intp(rows[row, 1] >> COUNT_SHIFT)
                    if n > 8:
                        copy_ids(row_ids, row, 12, 4, out, count + 8)
                    count += n
                else:
                    count += _piece(text, i, length, first, second, hashed, tables, state, out, count)
                    new += 1
            elif length <= SHORT:
                count += _piece(text, i, length, _ONE, _ONE, state.hashes[k], tables, state, out, count)
            elif 6 * length < state.work.size:
                count += merge_many_bytes(text, i, length, tables.bytes, state.work, out, count)
            else:
                return i, count
            i = ends[k]
    return i, count


@jit(counted=False)
def encode_short_kernel(content, tables, kept):
    """Encode the UTF-8 of a text of at most SHORT_TEXT characters.

    Parameters
    ----------
    content : bytes
    tables, kept : Kept
        `tables` and `state` of `encode_kernel`.

    Returns
    -------
    count : int
        The ids are state.ids[:count]; _LARGER where there was so much text that large tables are worth their while.
    """
    state, size = values_of(kept), len(content)
    state.encoded[0] += size
    if state.encoded[0] > state.encoded[1]:
        return _LARGER
    for i in range(size):
        state.text[i] = content[i]
    for i in range(PADDING):
        state.text[size + i] = 0
    _, count = encode_kernel(state.text, 0, size, tables, kept, state.ids)  # no piece is so long that it needs a room of its own
    return count


class Loops:
    """The two loops with the tables of a vocabulary; see `jit.entry_point` for how they are called.

    Parameters
    ----------
    tables : Tables
    states : list of Kept
        Those that no thread writes to.
    """

    short_text = SHORT_TEXT

    def __init__(self, tables: Tables, states: list[Kept]):
        self._tables, self._states = Kept(tables), states
        kept = self._tables, make_state(tables, few=True)
        text, size = padded("")
        self._entry = entry_point(encode_kernel, text, 0, size, *kept, np.empty(KEY_IDS, np.int32))
        self._entry_short = entry_point(encode_short_kernel, b"", *kept)

    def encode_short(self, content: bytes) -> np.ndarray:
        """Ids (T,), int32, of the UTF-8 of a text of at most SHORT_TEXT characters."""
        try:
            state = self._states.pop()
        except IndexError:
            state = make_state(self._tables.values, few=True)
        count = self._entry_short(content, self._tables, state)
        if count == _LARGER:
            state = make_state(self._tables.values)
            count = self._entry_short(content, self._tables, state)
        ids = state.values.ids[:count].copy()  # (T,)
        self._states.append(state)
        return ids

    def encode(self, text: np.ndarray, size: int) -> np.ndarray:
        """Ids (T,), int32, of text[:size], (N + PADDING,) uint8."""
        tables, state = self._tables, take_state(self._states, self._tables.values, size)
        out = np.empty(size + KEY_IDS, np.int32)  # at most an id a byte; memory that is not written to is not taken either
        i, total = self._entry(text, 0, size, tables, state, out)
        while i < size:  # at a piece of thousands of bytes, which needs a room of its own
            piece_ends(text, i, size, tables.values.cutter, 0, state.values.ends)
            roomy = Kept(state.values._replace(work=make_work(int(state.values.ends[0]) - i)))
            i, count = self._entry(text, i, size, tables, roomy, out[total:])
            total += count
        out.resize(total, refcheck=False)
        self._states.append(state)
        return out
