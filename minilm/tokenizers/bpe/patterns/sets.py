"""Sets of characters, as patterns write them: one bool a code point."""

from __future__ import annotations

import functools

import numpy as np

from minilm.tokenizers.bpe import unicode16

CODE_POINTS = 0x110000
_FOLDED = {"s": "\u017f", "k": "\u212a"}  # letters beyond ASCII whose lower case, folded, is an ASCII letter


def none() -> np.ndarray:
    """No character: (CODE_POINTS,) bool."""
    return np.zeros(CODE_POINTS, bool)


def between(first: int, last: int) -> np.ndarray:
    """The code points first ... last."""
    members = none()
    members[first : last + 1] = True
    return members


@functools.cache
def white() -> np.ndarray:
    r"""White space, ``\s``."""
    members = none()
    members[list(unicode16.SPACES)] = True
    return members


@functools.cache
def category(name: str) -> np.ndarray:
    r"""``\p{name}``: a general category, or all of those whose names begin with one letter. KeyError if there is none."""
    numbers = [number for number, each in enumerate(unicode16.CATEGORIES) if each == name or (len(name) == 1 and each[0] == name)]
    if not numbers:
        raise KeyError(name)
    return np.isin(unicode16.categories(), numbers)


def folded(members: np.ndarray) -> np.ndarray | None:
    """A set with both cases of its ASCII letters; None if it holds others, whose cases are not known here."""
    if members[0x80:].any():
        return None
    more = members.copy()
    for lower in range(ord("a"), ord("z") + 1):
        if members[lower] or members[lower - 0x20]:
            more[[lower, lower - 0x20, ord(_FOLDED.get(chr(lower), chr(lower)))]] = True
    return more
