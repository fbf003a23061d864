"""Texts as people type them, cut into words as treebanks do: punctuation and clitics stand by themselves."""

from __future__ import annotations

import re

from minilm.tokenizers.word_level import punctuation

__all__ = ["sentences", "word_pattern", "words"]

# Combining marks belong to words: the vowel signs of Hindi and the accents of decomposed text are no letters to Python's \w.
# Soft hyphens, directions and blanks of no width do not.
_MARKS = rf"{punctuation()}\u00ad\u200b\u200e\u200f\u2060\ufeff"


def word_pattern(without: str = "") -> str:
    """A regular expression of a letter, digit or "_" with all that follow, combining marks too, and of decimals such as 3.14.

    `without` are characters that are not to be letters.
    """
    return rf"(?:[^\W{without}][^\s{without}{_MARKS}]*(?:(?<=\d)(?:[.,]\d+)+)?)"


_PART = word_pattern()
_WORD = re.compile(
    r"-[lr]rb-"  # brackets, as the Penn Treebank writes them
    rf"|\w[^\s{_MARKS}]*?(?=n't\b)|n't\b"  # ca n't
    r"|'(?:s|re|ve|ll|d|m)\b"  # it 's
    r"|\.{2,}|-{2,}|``|''"
    rf"|{_PART}(?:[-/]{_PART})*"
    r"|\S",
    re.IGNORECASE,
)

_SENTENCE = re.compile(r"(?:[^.?!\n]|(?<=\d)\.(?=\d))+[.?!]*")  # a point within a number ends none


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the marks that end it.

    >>> sentences("Anna has 2.5 apples. Where is Anna?")
    ['Anna has 2.5 apples.', 'Where is Anna?']
    """
    return [each.strip() for each in _SENTENCE.findall(text) if each.strip()]


def words(text: str) -> list[str]:
    """The words of a text. One that is cut already stays as it is.

    >>> words("It isn't Anna's (well-made) film...")
    ['It', 'is', "n't", 'Anna', "'s", '(', 'well-made', ')', 'film', '...']
    >>> words("हिन्दी, 3.14")
    ['हिन्दी', ',', '3.14']
    """
    return _WORD.findall(text.replace("\u2019", "'"))
