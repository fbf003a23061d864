"""What an added token is, and how Hugging Face's files write one."""

from __future__ import annotations

from typing import NamedTuple

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class AddedToken(NamedTuple):
    """A string that is one token wherever a text spells it, whatever the tokenizer would make of it.

    Attributes
    ----------
    content : str
        What the text spells.
    special : bool
        Whether it stands for something other than its spelling; `decode` can skip such tokens.
    single_word : bool
        Whether it counts only where no word goes on to its left or right.
    lstrip, rstrip : bool
        Whether it takes in the white space before it, after it.
    normalized : bool
        Whether it is looked for in the text as the tokenizer normalises it (lower-cased, say), its content normalised too. Such
        tokens are looked for after all others, in what those leave of the text.
    id : int or None
        Its id; None where the vocabulary says it.
    """

    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    id: int | None = None


def from_json(fields, id=None, special: bool | None = None) -> AddedToken:
    """An added token as tokenizer.json, tokenizer_config.json and special_tokens_map.json write it.

    Parameters
    ----------
    fields : dict or str
        A str is the content of a special token.
    id : int, optional
        Instead of the one in `fields`.
    special : bool, optional
        Instead of the one in `fields`.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if isinstance(fields, str):
        fields = {"content": fields, "special": True}
    if not isinstance(fields, dict):
        raise ValueError(f"an added token must be an object, got {type(fields).__name__}")
    content = fields.get("content", fields)
    if not isinstance(content, str) or not content:
        if content is fields:
            raise ValueError("of an added token field 'content' is missing")
        raise ValueError(f"the content of an added token must be a non-empty str, got {content!r}")
    if special is None:
        special = fields.get("special", False)
    get = fields.get
    values = special, get("single_word", False), get("lstrip", False), get("rstrip", False), get("normalized", not special)
    if set(map(type, values)) != {bool}:
        wrong = next(flag for flag in values if not isinstance(flag, bool))
        raise ValueError(f"the flags of added token {content!r} must be bool, got {wrong!r}")
    id = get("id") if id is None else id
    if type(id) is not int and id is not None:
        raise ValueError(f"the id of added token {content!r} must be int, got {id!r}")
    return AddedToken(content, *values, id)


def flags(token: AddedToken) -> dict[str, bool]:
    """The flags of an added token, by their names."""
    return {name: getattr(token, name) for name in FLAGS}


def to_json(token: AddedToken) -> dict:
    """An added token as it stands in a tokenizer.json."""
    return {"id": token.id, "content": token.content, **flags(token)}
