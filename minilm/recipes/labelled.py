"""Labelled texts from tab-separated files, as GLUE's tasks come: a header line, then one text and one label a line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Labelled", "lines_of", "parts_of", "read", "unlearnable"]

VALIDATION = ("dev", "valid", "validation", "val", "test")


class Labelled(NamedTuple):
    """A text and its label."""

    text: str
    label: str


def parts_of(path, endings: tuple[str, ...]) -> tuple[str, str | None]:
    """The files of the training and the validation part.

    Parameters
    ----------
    path : str or os.PathLike
        A file, for both; or a folder with ``train`` and one of ``dev``, ``valid``, ``validation``, ``val``, ``test``.
    endings : tuple of str
        That the files in a folder may have.

    Returns
    -------
    train, validation : str
        The second is None for one file.

    Raises
    ------
    FileNotFoundError
        There is no such path.
    ValueError
        The folder lacks one of the parts; says which names were looked for.
    """
    path = os.fspath(path)
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no file or folder {path}")
        return path, None
    found = []
    for part, names in (("training", ("train",)), ("validation", VALIDATION)):
        there = [os.path.join(path, name + ending) for name in names for ending in endings]
        first = next((each for each in there if os.path.isfile(each)), None)
        if first is None:
            wanted = f"{names[0]} ({', '.join(names[1:])})" if len(names) > 1 else names[0]
            raise ValueError(f"{path}: there is no {part} part; wanted a file {wanted} with the ending {' or '.join(endings)}")
        found.append(first)
    return found[0], found[1]


def lines_of(path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, without their ends; ValueError names the first that is no UTF-8."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                wrong = raw[error.start]
                raise ValueError(f"{os.fspath(path)}:{number}: byte 0x{wrong:02x} is no UTF-8; wanted a text in UTF-8") from None
            yield number, line.rstrip("\r\n")


def _read_file(path, text: str, label: str) -> Iterator[tuple[int, Labelled]]:
    columns = None
    for number, line in lines_of(path):
        where, fields = f"{path}:{number}", line.split("\t")
        if columns is None:
            if text not in fields or label not in fields:
                raise ValueError(f"{where}: the header has the columns {', '.join(fields)!r}; wanted {text!r} and {label!r}")
            columns, width = (fields.index(text), fields.index(label)), len(fields)
            continue
        if not line.strip() and len(fields) == 1:
            raise ValueError(f"{where}: an empty line; wanted {width} columns separated by tabs")
        if len(fields) != width:
            raise ValueError(f"{where}: {len(fields)} columns, wanted {width} separated by tabs, as in the header: {line[:60]!r}")
        found = Labelled(*(fields[column].strip() for column in columns))
        for name, value in zip((text, label), found, strict=True):
            if not value:
                raise ValueError(f"{where}: the column {name!r} is empty; wanted a {'text' if name == text else 'label'}")
        yield number, found
    if columns is None:
        raise ValueError(f"{path}: the file is empty; wanted a header line with {text!r} and {label!r}")


def read(path, *, text: str = "sentence", label: str = "label") -> tuple[list[Labelled], list[Labelled]]:
    """The training and the validation part of labelled texts.

    Parameters
    ----------
    path : str or os.PathLike
        A .tsv file, every tenth example of which is for validation; or a folder with train.tsv and dev.tsv.
    text, label : str
        The columns' names in the header; there may be others.

    Raises
    ------
    FileNotFoundError
    ValueError
        With file and line: a wrong number of columns or an empty field; what came and what was wanted.

    Notes
    -----
    A label that the training part does not have is an error of any model: see `unlearnable`.
    """
    first, second = parts_of(path, (".tsv",))
    train = list(_read_file(first, text, label))
    if second is None:
        validation = train[9::10]
        train = [each for place, each in enumerate(train) if place % 10 != 9]
    else:
        validation = list(_read_file(second, text, label))
    labels = {example.label for _, example in train}
    if train and len(labels) < 2:
        raise ValueError(f"{first}: every label is {labels.pop()!r}; wanted at least two different ones")
    return [example for _, example in train], [example for _, example in validation]


def unlearnable(kind: str, train: Iterable[str], validation: Iterable[str]) -> list[str]:
    """A line about the labels, or tags, of the validation part that the training part does not have; none where there are none.

    A rare one may fall to the validation part alone. No model can give it then, so wherever it is wanted is an error, and is
    counted as one.
    """
    known, counts = set(train), Counter(validation)
    missing = {name: count for name, count in sorted(counts.items()) if name not in known}
    if not missing:
        return []
    named = ", ".join(map(repr, list(missing)[:5])) + ", ..." * (len(missing) > 5)
    number = f"{sum(missing.values()):,} of {counts.total():,}"
    return [f"{number} {kind}s for validation count as errors, since the part for training does not have them: {named}"]
