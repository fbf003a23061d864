"""Special tokens in a text: where they stand, and which of them the caller allows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

ALL = "all"


def chosen(name: str, value, special_tokens: Collection[str]) -> frozenset[str]:
    """The special tokens that an argument names: "all", or a collection of them.

    Raises
    ------
    TypeError
        `value` is another str, or no collection of str.
    ValueError
        It holds something that is no special token of this tokenizer.
    """
    if isinstance(value, str):
        if value == ALL:
            return frozenset(special_tokens)
        raise TypeError(f"{name} must be 'all' or a collection of special tokens, got {value!r}: write {{{value!r}}}")
    try:
        value = list(value)
    except TypeError:
        raise TypeError(f"{name} must be 'all' or a collection of special tokens, got {type(value).__name__}") from None
    for token in value:
        if not isinstance(token, str) or token not in special_tokens:
            known = ", ".join(map(repr, special_tokens)) or "none"
            raise ValueError(f"{name}: {token!r} is no special token of this tokenizer; it has {known}")
    return frozenset(value)


def check(special_tokens) -> tuple[str, ...]:
    """The tokens, which must be non-empty str, each there once."""
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens must be a list of str, got one str: write [{special_tokens!r}]")
    tokens = tuple(special_tokens)
    for token in tokens:
        if not isinstance(token, str) or not token:
            raise ValueError(f"special tokens must be non-empty str, got {token!r}")
        if tokens.count(token) > 1:
            raise ValueError(f"special token {token!r} is given twice")
    return tokens


def ids_of(special_tokens, ids: Mapping[str, int]) -> dict[str, int]:
    """Special tokens with their ids, in the order of these; ValueError for one that the vocabulary lacks."""
    for token in special_tokens:
        if token not in ids:
            raise ValueError(f"special token {token!r} is not in the vocabulary")
    return {token: ids[token] for token in sorted(special_tokens, key=ids.__getitem__)}


def segments(text: str, ids: Mapping[str, int]) -> Iterator[tuple[int, int, int]]:
    """Cut a text at the special tokens in it.

    Parameters
    ----------
    text : str
    ids : mapping of str to int
        The special tokens to look for. Where several begin at the same place the longest counts.

    Yields
    ------
    start, stop, id : int
        A special token text[start:stop], or with id -1 a stretch, perhaps empty, without any.
    """
    found = [token for token in ids if token in text]  # few or none: a plain search is many times as fast as an expression
    start = 0
    if found:
        found.sort(key=len, reverse=True)
        for match in re.finditer("|".join(map(re.escape, found)), text):
            yield start, match.start(), -1
            yield match.start(), match.end(), ids[match.group()]
            start = match.end()
    yield start, len(text), -1


def may_cross(text: str, place: int, special_tokens: Collection[str]) -> bool:
    """Whether a special token could begin before text[place] and end behind it, whatever stands around the text."""
    for token in special_tokens:
        for k in range(1, len(token)):
            left, right = text[max(place - k, 0) : place], text[place : place + len(token) - k]
            if token[:k].endswith(left) and token[k:].startswith(right):
                return True
    return False
