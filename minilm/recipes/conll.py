"""Tagged sentences from files in CoNLL's form: one word a line, its tag in the last column, an empty line between sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from minilm.metrics.entities import is_tag
from minilm.recipes.labelled import lines_of, parts_of

__all__ = ["Sentence", "read"]

ENDINGS = (".txt", ".conll", ".bio", ".iob", ".iob2", ".tsv", "")


class Sentence(NamedTuple):
    """Words and their tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def _read_file(path) -> Iterator[tuple[list[int], Sentence]]:
    """The sentences of a file, each with the numbers of its lines."""
    width, first = None, None  # columns, and the line that they were counted in
    numbers: list[int] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in [*lines_of(path), (0, "")]:
        fields = line.split("\t") if "\t" in line else line.split()
        begins = not words
        if not line.strip() or (begins and fields[0] == "-DOCSTART-"):
            if words:
                yield numbers, Sentence(tuple(words), tuple(tags))
            numbers, words, tags = [], [], []
            continue
        fields = [field.strip() for field in fields]
        if begins and fields[0].startswith("#") and not is_tag(fields[-1]):
            continue  # a comment, as CoNLL-U has them before a sentence
        where = f"{os.fspath(path)}:{number}"
        if len(fields) < 2:
            raise ValueError(f"{where}: one column, {line.strip()[:40]!r}; wanted a word and, in the last column, its tag")
        if width is None:
            width, first = len(fields), number
        if len(fields) != width:
            raise ValueError(f"{where}: {len(fields)} columns, wanted {width} as in line {first}: {line[:60]!r}")
        if not fields[0]:
            raise ValueError(f"{where}: the first column is empty; wanted a word")
        if not is_tag(fields[-1]):
            raise ValueError(
                f"{where}: the tag {fields[-1]!r}; wanted O, or B- or I- (also E-, S-, L-, U-) with a type, as B-PER"
            )
        numbers.append(number)
        words.append(fields[0])
        tags.append(fields[-1])


def read(path) -> tuple[list[Sentence], list[Sentence]]:
    """The training and the validation part of tagged sentences.

    Parameters
    ----------
    path : str or os.PathLike
        A file, every tenth sentence of which is for validation; or a folder with train and dev (valid, test) and an ending such
        as .txt or .conll.

    Raises
    ------
    FileNotFoundError
    ValueError
        With file and line: a wrong number of columns, an empty word, or something that is no tag.
    """
    train_file, validation_file = parts_of(path, ENDINGS)
    train = list(_read_file(train_file))
    if validation_file is None:
        validation, train = train[9::10], [each for place, each in enumerate(train) if place % 10 != 9]
    else:
        validation = list(_read_file(validation_file))
    return [sentence for _, sentence in train], [sentence for _, sentence in validation]
