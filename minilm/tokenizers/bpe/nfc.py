"""Normalisation form C, fast where little changes: a character and the marks behind it become one where Unicode has one for both.

Only a few characters can change, or what is before them: marks, and those that `unicodedata` itself rewrites. A text is looked
through for these, and only they are normalised, each with the character before. Which version of Unicode decides is Python's;
texts of characters that it knows are the same in every later one.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np

_LAST = 0x30000  # no character from here on is changed, or changes another
_VOWELS, _FINALS = range(0x1161, 0x1176), range(0x11A8, 0x11C3)  # parts of Hangul's syllables


@functools.cache
def _suspects() -> np.ndarray:
    """Of every code point, whether it may change or join what is before it, (0x110000,) bool."""
    table = np.zeros(0x110000, bool)
    table[[*_VOWELS, *_FINALS]] = True
    for code in range(0x80, _LAST):
        character = chr(code)
        written = unicodedata.decomposition(character)
        if unicodedata.combining(character) or (written and not unicodedata.is_normalized("NFC", character)):
            table[code] = True
        if written and written[0] != "<":
            table[[int(part, 16) for part in written.split()[1:]]] = True
    return table


def normalized(text: str) -> str:
    """The text in NFC."""
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")  # (N,)
    suspects = _suspects()[codes]  # (N,)
    edges = np.flatnonzero(np.diff(suspects, prepend=False, append=False))  # (2 R,): where runs of them begin and end
    runs = [(max(begin - 1, 0), end) for begin, end in edges.reshape(-1, 2).tolist()]
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
