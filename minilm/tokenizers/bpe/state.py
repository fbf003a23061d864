"""What one thread of byte-level BPE writes to: its tables of recent pieces (`recent`), and room.

The tables are small (192 kB) until a thread has encoded FEW_BYTES, so that a short text does not pay for them, and then 12 MB
whatever comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.held import Kept
from minilm.tokenizers.bpe.intrinsics import PADDING
from minilm.tokenizers.bpe.large_pages import zeros
from minilm.tokenizers.bpe.merging import make_scratch, work_size
from minilm.tokenizers.bpe.pieces import ROOM
from minilm.tokenizers.bpe.recent import COUNT_SHIFT, KEY_IDS, LONG_COLUMNS
from minilm.tokenizers.bpe.tables import Tables
from minilm.tokenizers.bpe.words import ID_MASK, ID_SHIFT, NOT_ID, hash_of

ROW_BITS = 17  # of the table of short pieces
LONG_ROW_BITS = 15  # of the table of long pieces
FEW_BITS, FEW_BYTES = 6, 1 << 16  # by how many bits fewer name a row at first, and how many bytes of text that serves
WORK_BYTES = 4096  # of pieces that need no room of their own
SHORT_TEXT = 512  # characters of a text for which the room of a state serves, so that no array is made but that of its ids
_ENOUGH = 2**63 - 1


class State(NamedTuple):
    """What one thread writes to."""

    rows: np.ndarray  # (2**ROW_BITS, 8) uint64: two words of key with the number of ids on top, and room for twelve ids
    row_ids: np.ndarray  # (2**ROW_BITS, 16) int32, the same memory: four words of key, and the ids
    long_rows: np.ndarray  # (2**LONG_ROW_BITS, 16) uint64: length and number of ids, the bytes, the ids
    long_ids: np.ndarray  # (2**LONG_ROW_BITS, 32) int32, the same memory
    ends: np.ndarray  # (ROOM,) int64
    hashes: np.ndarray  # (ROOM,) uint64: of the pieces that end there, but for those of more than SHORT bytes
    scratch: np.ndarray  # see `merging.make_scratch`
    work: np.ndarray  # (W,) int64, see `merging.work_size`
    shift: np.uint64  # 64 less the bits of a hash that name a row of `rows`
    long_shift: np.uint64  # and of `long_rows`
    encoded: np.ndarray  # (2,) int64: bytes of text so far, and for how many these tables are large enough
    text: np.ndarray  # (4 * SHORT_TEXT + PADDING,) uint8: a short text
    ids: np.ndarray  # (4 * SHORT_TEXT + KEY_IDS,) int32: and its ids


def make_state(tables: Tables, few: bool = False) -> Kept:
    """A `State` for one thread, or, for a `few` bytes of text, one with small tables.

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
    encoded = np.array([0, FEW_BYTES if few else _ENOUGH], np.int64)  # (2,)
    short = np.empty(4 * SHORT_TEXT + PADDING, np.uint8), np.empty(4 * SHORT_TEXT + KEY_IDS, np.int32)
    return Kept(State(rows, row_ids, long_rows, long_ids, *room, shift, long_shift, encoded, *short))


def take_state(states: list[Kept], tables: Tables, size: int) -> Kept:
    """A state out of those that no thread writes to, or a new one, for a text of `size` bytes."""
    try:
        state = states.pop()
    except IndexError:
        state = make_state(tables, few=size <= FEW_BYTES)
    encoded = state.values.encoded
    encoded[0] += size
    return make_state(tables) if encoded[0] > encoded[1] else state


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
                rows[row, 0], rows[row, 1], row_ids[row, 4] = first, second | np.uint64(1) << COUNT_SHIFT, token
