"""Normalisation form C, fast where little changes: a character and the marks behind it become one where Unicode has one for both.

A text is in NFC if no character of it is one that `unicodedata` rewrites or that may join what is before it, and no mark stands
behind one of a higher combining class; `nfc_scan` looks for such places in a text's UTF-8. Only where there is one is
`unicodedata` asked, for the characters from the last starter, which nothing changes or joins, up to the next. Which version of
Unicode decides is Python's; texts of characters that it knows are the same in every later one.

References
----------
Unicode Standard Annex 15, Unicode normalization forms, section 9, detecting normalization forms.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np

_LAST = 0x30000  # no character from here on is changed, or changes another
_VOWELS, _FINALS = range(0x1161, 0x1176), range(0x11A8, 0x11C3)  # parts of Hangul's syllables
DOUBTFUL = 0x80  # above the number of the combining class


@functools.cache
def kinds_of_characters() -> np.ndarray:
    """Of every code point its combining class by number, and DOUBTFUL if it may change or join: (0x110000,) uint8."""
    classes = np.zeros(0x110000, np.uint8)
    doubtful = np.zeros(0x110000, bool)
    doubtful[[*_VOWELS, *_FINALS]] = True
    for code in range(0x80, _LAST):
        character = chr(code)
        classes[code] = unicodedata.combining(character)
        written = unicodedata.decomposition(character).split()
        if written and written[0][0] != "<":
            doubtful[code] |= not unicodedata.is_normalized("NFC", character)
            doubtful[[int(part, 16) for part in written[1:]]] = True
    return (np.unique(classes, return_inverse=True)[1] | np.where(doubtful, DOUBTFUL, 0)).astype(np.uint8)


def normalized(text: str) -> str:
    """The text in NFC."""
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")  # (N,)
    kinds = kinds_of_characters()[codes]  # (N,)
    doubtful = kinds >= DOUBTFUL  # (N,)
    doubtful[1:] |= (kinds[:-1] & ~np.uint8(DOUBTFUL)) > kinds[1:]
    doubtful &= kinds > 0
    places = np.flatnonzero(doubtful)  # (D,)
    if not places.size:
        return text
    starters = np.flatnonzero(kinds == 0)  # (S,)
    number = np.unique(np.searchsorted(starters, places))  # (R,): how many starters there are before each
    edges = np.concatenate([[0], starters, [len(text)]])  # (S + 2,)
    runs = list(zip(edges[number].tolist(), edges[number + 1].tolist(), strict=True))
    distinct = {text[begin:end] for begin, end in runs}
    changed = {run: unicodedata.normalize("NFC", run) for run in distinct if not unicodedata.is_normalized("NFC", run)}
    if not changed:
        return text
    parts, last = [], 0
    for begin, end in runs:
        run = text[begin:end]
        if run in changed:
            parts += (text[last:begin], changed[run])
            last = end
    return "".join([*parts, text[last:]])
