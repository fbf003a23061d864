"""Pairs of texts, source and target, from files of four kinds; errors name the file and the line.

::

    x _y                      a line an example, of fixed width: the source, filled up with blanks, "_", the target
    source<TAB>target         a line an example
    FOLDER or PREFIX          parallel text: train.de and train.en, line by line; val.de and val.en; each may be .gz
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilm.data.lines import REFUSE, BadRow, BadRows, Line, lines
from minilm.typing import PathLike

__all__ = ["Pair", "hold_out", "read_file", "read_parallel"]

VALIDATION = ("val", "valid", "validation", "dev")


class Pair(NamedTuple):
    """An example."""

    source: str
    target: str


def read_file(
    path: PathLike,
    layout: str = "source<TAB>target, or source_target",
    separator: str | None = None,
    columns: tuple[int, int] | None = None,
    bad_rows: BadRows = REFUSE,
) -> list[Pair]:
    """A file of pairs, one a line.

    Parameters
    ----------
    path : str or os.PathLike
    layout : str
        What a line looks like, for the message of an error.
    separator : str, optional
        A tab where at least half of the lines have one, otherwise "_", without it.
    columns : (int, int), optional
        Which columns between tabs, from 1, are source and target; without it there must be two.
    bad_rows : BadRows

    Raises
    ------
    ValueError
        A line has no separator, or more than one tab, or one of the two is empty; or the file is.
    """
    pairs: list[Pair] = []
    rows = list(lines(path))
    if separator is None:
        separator = "\t" if columns or 2 * sum(b"\t" in line.content for line in rows) >= len(rows) else "_"
    for line in rows:
        with bad_rows:
            pairs.append(_pair(line, layout, separator, columns))
    bad_rows.require(pairs, f"{os.fspath(path)}: an empty file; wanted lines of {layout}")
    return pairs


def _pair(line: Line, layout: str, separator: str, columns: tuple[int, int] | None) -> Pair:
    text = line.text
    parts = text.split(separator) if separator == "\t" else text.rsplit(separator, 1)
    if columns is not None and len(parts) >= max(columns):
        parts = [parts[column - 1] for column in columns]
    elif len(parts) != 2 or columns is not None:
        came = f"{len(parts) - 1 or 'no'} tab{'s' * (len(parts) != 2)}" if separator == "\t" else 'no tab and no "_"'
        raise BadRow(f"{line.where}: {came} in {text[:60]!r}; wanted {_columns(columns) or layout}{_hint(parts, columns)}")
    source, target = (part.strip() for part in parts)
    if not source or not target:
        raise BadRow(f"{line.where}: an empty {'target' if source else 'source'} in {text[:60]!r}; wanted {layout}")
    return Pair(source, target)


def _columns(columns: tuple[int, int] | None) -> str:
    return f"{max(columns)} columns, of which the settings source_column and target_column take two" if columns else ""


def _hint(parts: Sequence[str], columns: tuple[int, int] | None) -> str:
    more = len(parts) > 2 and columns is None
    return " (the settings source_column and target_column name two of more columns)" if more else ""


def read_parallel(
    path: PathLike, source: str | None = None, target: str | None = None, bad_rows: BadRows = REFUSE
) -> tuple[list[Pair], list[Pair] | None]:
    """Parallel text of a folder, or of all files whose paths begin with `path`: the part to train on, and to validate on.

    Parameters
    ----------
    path : str or os.PathLike
    source, target : str, optional
        The languages, as files name them ("de", "en"). Without them those of the two training files, in the alphabet's order.
    bad_rows : BadRows
        A row is a line of both files.

    Returns
    -------
    train : list of Pair
    validation : list of Pair, or None
        None where there are no files val.*, valid.*, validation.* or dev.*.

    Raises
    ------
    FileNotFoundError
        There are no two training files.
    ValueError
        Which languages are meant is not clear, the files have unequal numbers of lines, or a line is empty.
    """
    path = os.fspath(path)
    prefix = os.path.join(path, "") if os.path.isdir(path) else path
    folder, begin = os.path.split(prefix)
    names = sorted(name for name in os.listdir(folder or ".") if name.startswith(begin)) if os.path.isdir(folder or ".") else []
    files: dict[str, dict[str, str]] = {}  # part -> language -> file
    for name in names:
        match = re.fullmatch(r"(\w+)\.(\w+?)(\.gz)?", name[len(begin) :])
        if match and match[2] != "gz":
            files.setdefault(match[1], {})[match[2]] = os.path.join(folder, name)
    languages = sorted(files.get("train", {}))
    chosen = [source, target]
    if source is None or target is None:
        left = [language for language in languages if language not in chosen]
        if len(left) != chosen.count(None):
            what = f"training files of {', '.join(languages)}" if languages else "no training files"
            message = f"{path}: {what}; wanted two such as train.de and train.en"
            if languages and len(languages) > 2:
                raise ValueError(f"{message}, or the settings source and target, which name the languages")
            raise FileNotFoundError(message)
        chosen = [language or left.pop(0) for language in chosen]
    parts = [next((part for part in each if part in files), None) for each in (("train",), VALIDATION)]
    read: list[list[Pair] | None] = []
    for part in parts:
        if part is None:
            read.append(None)
            continue
        for language in chosen:
            if language not in files[part]:
                raise FileNotFoundError(f"there is no {prefix}{part}.{language}, nor with .gz")
        read.append(_both(*(files[part][language] for language in chosen), bad_rows))
    if read[0] is None:
        raise FileNotFoundError(f"there are no {prefix}train.{chosen[0]} and {prefix}train.{chosen[1]}")
    return read[0], read[1]


def _both(source: str, target: str, bad_rows: BadRows) -> list[Pair]:
    pairs: list[Pair] = []
    counts = [0, 0]
    for row in itertools.zip_longest(lines(source), lines(target)):
        counts = [count + (line is not None) for count, line in zip(counts, row, strict=True)]
        if None not in row:
            with bad_rows:
                pairs.append(Pair(*map(_sentence, row)))
    if counts[0] != counts[1]:
        longer, shorter = (source, target) if counts[0] > counts[1] else (target, source)
        raise ValueError(
            f"{longer}:{min(counts) + 1}: {shorter} has no such line: {source} has {counts[0]:,} lines and {target} "
            f"{counts[1]:,}; wanted as many, line by line"
        )
    bad_rows.require(pairs, f"{source}: an empty file; wanted a sentence a line")
    return pairs


def _sentence(line: Line) -> str:
    text = line.text.strip()
    if not text:
        raise BadRow(f"{line.where}: an empty line; wanted a sentence")
    return text


def hold_out(pairs: Sequence, part: float = 0.1, seed: int = 0) -> tuple[list, list]:
    """Examples to train on and to validate on, in an order of chance. All that have one source are on one side."""
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    rng = np.random.default_rng(seed)
    held = {sources[i] for i in rng.permutation(len(sources))[: max(1, round(part * len(sources)))]}
    mixed = [pairs[i] for i in rng.permutation(len(pairs))]
    return [pair for pair in mixed if pair.source not in held], [pair for pair in mixed if pair.source in held]
