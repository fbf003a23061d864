"""What becomes of each character, as a table that the kernels read: clean, set ideographs apart, strip accents, lower-case.

All of BERT's basic tokenizer but one step works on single characters, so it is computed once a character and then looked up.
The one step that is not is Unicode's canonical ordering of marks, which a decomposition demands; the kernel does it where two
marks stand in the wrong order. Accents are gone by then, so it concerns the few marks that take up space (category Mc) alone.
"""

from __future__ import annotations

import threading
import unicodedata
from typing import NamedTuple

import numpy as np

from . import unicode_data

DROP, SPACE, LETTER, ALONE, IDEOGRAPH, SEVERAL = range(6)
PAGE = 256  # characters
PAGES = 0x110000 // PAGE


class Basic(NamedTuple):
    """The settings of BERT's basic tokenizer.

    Attributes
    ----------
    clean_text : bool
        Remove control characters, U+0000 and U+FFFD.
    split_cjk : bool
        Make every ideograph a word of its own ("tokenize_chinese_chars").
    strip_accents : bool
        Decompose canonically (NFD), then remove non-spacing marks.
    lower : bool
        Lower-case, character by character.
    """

    clean_text: bool = True
    split_cjk: bool = True
    strip_accents: bool = True
    lower: bool = True


class Table(NamedTuple):
    """The table as kernels read it; entry e of a character is ``page[code // 256] * 256 + code % 256``.

    Attributes
    ----------
    page : ndarray, shape (4352,), int32
        Where a page of 256 characters lies; -1 where it has not been computed.
    kind : ndarray, shape (E,), uint8
        DROP, SPACE, LETTER (part of a word), ALONE (a word by itself), IDEOGRAPH (too, and normalised with blanks around it)
        or SEVERAL.
    becomes : ndarray, shape (E,), int32
        The character that comes out; for SEVERAL, where its characters begin in `pool`.
    order : ndarray, shape (E,), uint8
        The canonical combining class of what comes out; 0 for all but a few marks.
    pool : ndarray, shape (P, 3), int32
        Character, kind and combining class of each part of a SEVERAL; a row with kind DROP ends it.
    """

    page: np.ndarray
    kind: np.ndarray
    becomes: np.ndarray
    order: np.ndarray
    pool: np.ndarray


class Characters:
    """The table for one set of settings. Pages are computed when a text first needs them: most texts need two or three."""

    def __init__(self, settings: Basic):
        self.settings = settings
        self._lock = threading.RLock()
        nothing = (np.empty(0, dtype) for dtype in (np.uint8, np.int32, np.uint8))
        empty = Table(np.full(PAGES, -1, np.int32), *nothing, np.empty((0, 3), np.int32))
        self._state = empty, 0, 0  # the table, and how many entries and parts of its arrays are in use: replaced together
        self.add_pages([0])

    @property
    def table(self) -> Table:
        """What the kernels read."""
        return self._state[0]

    def __reduce__(self):  # a lock does not travel, and pages are soon computed
        return Characters, (self.settings,)

    def add_pages(self, numbers) -> None:
        """Compute the 256 characters from ``256 * number`` on, for each number, and put a new table in place of the old one.

        Another thread may be reading the old one, so of what that one uses nothing is changed: new entries lie behind the old.
        """
        with self._lock:
            table, entries, used = self._state
            page = table.page.copy()
            rows, parts = [], []
            for number in numbers:
                if page[number] >= 0:
                    continue
                page[number] = (entries + len(rows)) // PAGE
                for code in range(number * PAGE, (number + 1) * PAGE):
                    expansion = parts_of(code, self.settings)
                    if len(expansion) <= 1:
                        rows.append(expansion[0] if expansion else (0, DROP, 0))
                    else:
                        rows.append((used + len(parts), SEVERAL, 0))
                        parts += [*expansion, (0, DROP, 0)]
            new = np.array(rows, np.int32).reshape(-1, 3)  # (256 * pages, 3)
            table = Table(
                page,
                _longer(table.kind, entries, new[:, 1]),
                _longer(table.becomes, entries, new[:, 0]),
                _longer(table.order, entries, new[:, 2]),
                _longer(table.pool, used, np.array(parts, np.int32).reshape(-1, 3)),
            )
            self._state = table, entries + len(rows), used + len(parts)


def _longer(array: np.ndarray, used: int, more: np.ndarray) -> np.ndarray:
    """The first `used` rows and then `more`: in the same memory if it has room, else in twice as much."""
    if used + len(more) > len(array):
        longer = np.empty((2 * (used + len(more)), *array.shape[1:]), array.dtype)
        longer[:used] = array[:used]
        array = longer
    array[used : used + len(more)] = more
    return array


def parts_of(code: int, settings: Basic) -> list[tuple[int, int, int]]:
    """What one character becomes: (character, kind, combining class) of each part, in order; nothing if it is dropped."""
    if settings.clean_text and unicode_data.is_removed(code):  # U+000B, U+000C and U+0085 too, which are spaces otherwise
        return []
    if code in unicode_data.SPACES:  # before it is decomposed: U+2000 and U+2001 have decompositions
        kept = unicode_data.decompose(code)[0] if settings.strip_accents else code
        return [(0x20 if settings.clean_text else kept, SPACE, 0)]
    codes = [code]
    if settings.strip_accents:
        codes = [part for part in unicode_data.decompose(code) if part not in unicode_data.MARKS]
    if settings.lower:
        codes = [small for part in codes for small in unicode_data.lower(part)]
    ideograph = settings.split_cjk and unicode_data.is_ideograph(code)
    expansion = []
    for part in codes:
        kind = IDEOGRAPH if ideograph else ALONE if unicode_data.is_punctuation(part) else LETTER
        # Without a decomposition nothing is reordered.
        order = unicodedata.combining(chr(part)) if settings.strip_accents else 0
        expansion.append((part, kind, order))
    return expansion
