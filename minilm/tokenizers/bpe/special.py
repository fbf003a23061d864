"""Which special tokens the caller of `encode` allows."""

from __future__ import annotations

from collections.abc import Collection

from minilm.tokenizers.added import AddedTokens

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


def choice(text: str, added: AddedTokens, special_tokens: Collection[str], allowed_special, disallowed_special) -> AddedTokens:
    """The added tokens to look for in a text; ValueError for a special one that must not be there."""
    if allowed_special == ALL and not disallowed_special:
        return added
    allowed = chosen("allowed_special", allowed_special, special_tokens)
    disallowed = chosen("disallowed_special", disallowed_special, special_tokens)
    for token in sorted(disallowed - allowed if disallowed_special == ALL else disallowed):
        at = text.find(token)
        if at >= 0:
            raise ValueError(
                f"character {at}: the text holds the special token {token!r}, which disallowed_special names; "
                "allowed_special encodes it as that token, and a token in neither is encoded as ordinary text"
            )
    return added.allowing(allowed)
