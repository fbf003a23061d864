"""Labelled texts from tab-separated files, as GLUE's tasks come: a header line, then one text and one label a line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from minilm.data.lines import REFUSE, BadRow, BadRows, Line, lines
from minilm.typing import PathLike

__all__ = ["Labelled", "parts_of", "read", "split", "unlearnable"]

VALIDATION = ("dev", "valid", "validation", "val", "test")


class Labelled(NamedTuple):
    """A text and its label."""

    text: str
    label: str


def parts_of(path: PathLike, endings: tuple[str, ...]) -> tuple[str, str | None]:
    """The files of the training and the validation part.

    Parameters
    ----------
    path : str or os.PathLike
        A file, for both; or a folder with ``train`` and one of ``dev``, ``valid``, ``validation``, ``val``, ``test``.
    endings : tuple of str
        That the files in a folder may have, also with .gz.

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
    parts, packed = [], [f"{ending}.gz" for ending in endings]
    for part, names in (("training", ("train",)), ("validation", VALIDATION)):
        candidates = [os.path.join(path, name + ending) for name in names for ending in (*endings, *packed)]
        first = next((each for each in candidates if os.path.isfile(each)), None)
        if first is None:
            expected = f"{names[0]} ({', '.join(names[1:])})" if len(names) > 1 else names[0]
            raise ValueError(f"{path}: there is no {part} part; wanted a file {expected} with the ending {' or '.join(endings)}")
        parts.append(first)
    return parts[0], parts[1]


def split(rows: Sequence) -> tuple[list, list]:
    """The rows of one file as a training and a validation part, which is every tenth row."""
    return [row for place, row in enumerate(rows) if place % 10 != 9], list(rows[9::10])


def _read_file(path, text: str, label: str, bad_rows: BadRows) -> Iterator[tuple[int, Labelled]]:
    rows = lines(path)
    header = next(rows, None)
    if header is None:
        raise ValueError(f"{path}: the file is empty; wanted a header line with {text!r} and {label!r}")
    names = header.text.split("\t")
    if text not in names or label not in names:
        raise ValueError(f"{header.where}: the header has the columns {', '.join(names)!r}; wanted {text!r} and {label!r}")
    columns = {name: names.index(name) for name in (text, label)}
    for line in rows:
        example = None
        with bad_rows:
            example = _example(line, columns, len(names))
        if example is not None:
            yield line.number, example


def _example(line: Line, columns: dict[str, int], width: int) -> Labelled:
    """The text and the label of a row; `columns` says where they stand."""
    where, content = line.where, line.text
    fields = content.split("\t")
    if not content.strip() and len(fields) == 1:
        raise BadRow(f"{where}: an empty line; wanted {width} columns separated by tabs")
    if len(fields) != width:
        raise BadRow(f"{where}: {len(fields)} columns, wanted {width} separated by tabs, as in the header: {content[:60]!r}")
    example = Labelled(*(fields[column].strip() for column in columns.values()))
    for name, value, kind in zip(columns, example, ("text", "label"), strict=False):
        if not value:
            raise BadRow(f"{where}: the column {name!r} is empty; wanted a {kind}")
    return example


def read(
    path: PathLike, *, text: str = "sentence", label: str = "label", bad_rows: BadRows = REFUSE, least: int = 2
) -> tuple[list[Labelled], list[Labelled]]:
    """The training and the validation part of labelled texts.

    Parameters
    ----------
    path : str or os.PathLike
        A .tsv file, every tenth example of which is for validation; or a folder with train.tsv and dev.tsv.
    text, label : str
        The columns' names in the header; there may be others.
    bad_rows : BadRows
    least : int
        Different labels that the training part must have: one alone teaches nothing, but can be measured on.

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
    train = list(_read_file(first, text, label, bad_rows))
    if second is None:
        train, validation = split(train)
    else:
        validation = list(_read_file(second, text, label, bad_rows))
    labels = {example.label for _, example in train}
    if train and len(labels) < least:
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
