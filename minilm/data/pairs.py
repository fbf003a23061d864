"""Pairs of texts, source and target, from files of four kinds; what is wrong in them is told with file and line.

::

    x _y                      a line an example, of fixed width: the source, filled up with blanks, "_", the target
    source<TAB>target         a line an example
    FOLDER or PREFIX          parallel text: train.de and train.en, line by line; val.de and val.en; each may be .gz
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Pair", "hold_out", "lines", "read_file", "read_parallel"]

VALIDATION = ("val", "valid", "validation", "dev")


class Pair(NamedTuple):
    """An example."""

    source: str
    target: str


def lines(path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and content of each line of a UTF-8 file, which may be compressed by gzip.

    Raises
    ------
    ValueError
        A line is not UTF-8, or the compressed file is damaged.
    """
    path = os.fspath(path)
    number = 0
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            for number, content in enumerate(file, 1):
                try:
                    yield number, content.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise ValueError(f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file after line {number}: {error}") from None


def read_file(path, wanted: str = "source<TAB>target, or source_target", separator: str | None = None) -> list[Pair]:
    """A file of pairs, `wanted` on each line. Without `separator` it is a tab where the first line has one, otherwise "_".

    Raises
    ------
    ValueError
        A line has no separator, or more than one tab, or one of the two is empty; or the file is.
    """
    pairs = []
    for number, line in lines(path):
        separator = separator or ("\t" if "\t" in line else "_")
        parts = line.split(separator) if separator == "\t" else line.rsplit(separator, 1)
        if len(parts) != 2:
            came = f"{len(parts) - 1 or 'no'} tabs" if separator == "\t" else 'no tab and no "_"'
            raise ValueError(f"{path}:{number}: {came} in {line[:60]!r}; wanted {wanted}")
        source, target = (part.strip() for part in parts)
        if not source or not target:
            raise ValueError(f"{path}:{number}: an empty {'target' if source else 'source'} in {line[:60]!r}; wanted {wanted}")
        pairs.append(Pair(source, target))
    if not pairs:
        raise ValueError(f"{path}: an empty file; wanted lines of {wanted}")
    return pairs


def read_parallel(path, source: str | None = None, target: str | None = None) -> tuple[list[Pair], list[Pair] | None]:
    """Parallel text of a folder, or of all files whose paths begin with `path`: the part to train on, and to validate on.

    Parameters
    ----------
    path : str or os.PathLike
    source, target : str, optional
        The languages, as files name them ("de", "en"). Without them those of the two training files, in the alphabet's order.

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
    found: dict[str, dict[str, str]] = {}  # part -> language -> file
    for name in names:
        match = re.fullmatch(r"(\w+)\.(\w+?)(\.gz)?", name[len(begin) :])
        if match and match[2] != "gz":
            found.setdefault(match[1], {})[match[2]] = os.path.join(folder, name)
    languages = sorted(found.get("train", {}))
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
    parts = [next((part for part in each if part in found), None) for each in (("train",), VALIDATION)]
    read: list[list[Pair] | None] = []
    for part in parts:
        if part is None:
            read.append(None)
            continue
        for language in chosen:
            if language not in found[part]:
                raise FileNotFoundError(f"there is no {prefix}{part}.{language}, nor with .gz")
        read.append(_both(*(found[part][language] for language in chosen)))
    if read[0] is None:
        raise FileNotFoundError(f"there are no {prefix}train.{chosen[0]} and {prefix}train.{chosen[1]}")
    return read[0], read[1]


def _both(source: str, target: str) -> list[Pair]:
    texts = []
    for path in (source, target):
        texts.append([])
        for number, line in lines(path):
            if not line.strip():
                raise ValueError(f"{path}:{number}: an empty line; wanted a sentence")
            texts[-1].append(line.strip())
    counts = [len(text) for text in texts]
    if counts[0] != counts[1]:
        longer, shorter = (source, target) if counts[0] > counts[1] else (target, source)
        raise ValueError(
            f"{longer}:{min(counts) + 1}: {shorter} has no such line: {source} has {counts[0]:,} lines and {target} "
            f"{counts[1]:,}; wanted as many, line by line"
        )
    if not counts[0]:
        raise ValueError(f"{source}: an empty file; wanted a sentence a line")
    return [Pair(*pair) for pair in zip(*texts, strict=True)]


def hold_out(pairs: Sequence, part: float = 0.1, seed: int = 0) -> tuple[list, list]:
    """Examples to train on and to validate on, in an order of chance. All that have one source are on one side."""
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    rng = np.random.default_rng(seed)
    held = {sources[i] for i in rng.permutation(len(sources))[: max(1, round(part * len(sources)))]}
    mixed = [pairs[i] for i in rng.permutation(len(pairs))]
    return [pair for pair in mixed if pair.source not in held], [pair for pair in mixed if pair.source in held]
