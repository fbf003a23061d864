"""Keras's module of what is done to texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from minilm.ops import checks
from minilm.tokenizers import Word as Tokenizer
from minilm.tokenizers import text_to_word_sequence, tokenizer_from_json
from minilm.tokenizers.word import FILTERS

__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]


def hashing_trick(
    text: str,
    n: int,
    hash_function: str | Callable[[str], int] | None = None,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
) -> list[int]:
    """The words of a text as numbers in [1, n), by a hash of each word: two words may have the same number.

    Parameters
    ----------
    text : str
    n : int
        At least 2.
    hash_function : callable or "md5", optional
        A function of a word that gives a whole number. Without it Python's ``hash``, which differs from one process to the
        next; "md5" does not.
    filters, lower, split
        As in `text_to_word_sequence`.

    Returns
    -------
    list of int
        A number for each word.

    Raises
    ------
    ValueError
        If n is less than 2, or `hash_function` neither a function nor "md5".
    """
    n = checks.whole("n", n, 2, 2**63)
    if hash_function is None:
        hash_function = hash
    elif hash_function == "md5":
        hash_function = _md5
    elif not callable(hash_function):
        raise ValueError(f"hash_function must be a function or 'md5', got {hash_function!r}")
    return [hash_function(word) % (n - 1) + 1 for word in text_to_word_sequence(text, filters, lower, split)]


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


def one_hot(text: str, n: int, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[int]:
    """`hashing_trick` with Python's ``hash``, and its other arguments. The name is Keras's; no one-hot vector is made."""
    return hashing_trick(text, n, hash, filters, lower, split)
