"""Texts as people type them, cut into words as treebanks do: punctuation and clitics stand by themselves."""

from __future__ import annotations

import re

__all__ = ["words"]

_WORD = re.compile(
    r"-[lr]rb-"  # brackets, as the Penn Treebank writes them
    r"|\w+?(?=n't\b)|n't\b"  # ca n't
    r"|'(?:s|re|ve|ll|d|m)\b"  # it 's
    r"|\.{2,}|-{2,}|``|''"
    r"|\w+(?:[-/]\w+)*|\w+(?:[.,]\d+)+"
    r"|[^\w\s]",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """The words of a text. One that is cut already stays as it is.

    >>> words("It isn't Anna's (well-made) film...")
    ['It', 'is', "n't", 'Anna', "'s", '(', 'well-made', ')', 'film', '...']
    """
    return _WORD.findall(text.replace("\u2019", "'"))
