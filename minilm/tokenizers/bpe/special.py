"""Which special tokens the caller of `encode` allows."""

from __future__ import annotations

from collections.abc import Collection

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
    existing = frozenset(special_tokens)
    for token in value:
        if not isinstance(token, str) or token not in existing:
            known = ", ".join(map(repr, special_tokens)) or "none"
            raise ValueError(f"{name}: {token!r} is no special token of this tokenizer; it has {known}")
    return frozenset(value)
