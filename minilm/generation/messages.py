"""What the messages of a chat must be, whatever its form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from minilm.ops import checks

__all__ = ["check_messages"]


def check_messages(messages: Sequence[Mapping[str, str]], marks: Iterable[str] = (), roles: Sequence[str] = ()) -> None:
    """Refuse what is no chat, or has a message that spells one of `marks`.

    Parameters
    ----------
    messages : sequence of mapping
        At least one, each with "role" and "content".
    marks : iterable of str
        Special tokens of the form or the model: a message that spells one would speak for another.
    roles : sequence of str
        The roles there are; any without it.

    Raises
    ------
    TypeError
        `messages` is no list or the like.
    ValueError
        There is no message, or one of them is not such a mapping: names it.
    """
    if not isinstance(messages, Collection):
        raise TypeError(f"messages must be a list of mappings, got {checks.describe(messages)}")
    if not messages:
        raise ValueError("messages must hold at least one, got none")
    for number, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, Mapping) else (None, None)
        if not isinstance(content, str) or not (role in roles if roles else isinstance(role, str)):
            known = f" of {', '.join(roles)}" if roles else ""
            got = repr(dict(message)) if isinstance(message, Mapping) else checks.describe(message)
            raise ValueError(f"message {number} must have a role{known} and a content, got {got}")
        mark = next((mark for mark in marks if mark in content), None)
        if mark is not None:
            raise ValueError(f"message {number} spells {mark}, a special token")
