"""Sentences with a predicate and the roles of its phrases, from files in the form of CoNLL-2012 (PropBank).

A line a word, an empty line between sentences, columns parted by tabs or blanks::

    document part index word pos parse lemma frameset role_1 ... role_P        P: predicates of the sentence

A column of roles belongs to a predicate, in their order, and has brackets: ``(ARG0*`` begins a phrase, ``*)`` ends it, ``(V*)``
is the predicate. Each predicate of a sentence is an example of its own; its roles become tags, B- and I- with the role.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minilm.data.lines import REFUSE, BadRow, BadRows, Line, lines
from minilm.recipes.conll import blocks
from minilm.recipes.labelled import parts_of, split
from minilm.typing import PathLike

__all__ = ["Proposition", "read"]

ENDINGS = (".conll", ".gold_conll", ".txt", ".props", "")
WORD, FIRST = 3, 8  # columns: of the word, and of the first predicate's roles
BRACKET = re.compile(r"(?:\(([^()*\s]+))?\*(\)?)")
VERB = "V"


class Proposition(NamedTuple):
    """A sentence, one of its predicates, and the roles around it as tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    predicate: tuple[int, ...]  # places of its words


def read(path: PathLike, bad_rows: BadRows = REFUSE) -> tuple[list[Proposition], list[Proposition]]:
    """The training and the validation part.

    Parameters
    ----------
    path : str or os.PathLike
        A file, every tenth sentence of which is for validation; or a folder with train and dev (valid, test) and the ending
        .conll, .gold_conll, .txt, .props or none, also with .gz.
    bad_rows : BadRows
        A row is a sentence.

    Raises
    ------
    FileNotFoundError
    ValueError
        With file and line: too few columns, a bracket that does not fit, a predicate that is missing.
    """
    first, second = parts_of(path, ENDINGS)
    train = list(_sentences(first, bad_rows))
    bad_rows.require([each for some in train for each in some], f"{os.fspath(first)}: there are no predicates in it")
    if second is None:
        train, validation = split(train)
    else:
        validation = list(_sentences(second, bad_rows))
    return [each for some in train for each in some], [each for some in validation for each in some]


def _sentences(path: PathLike, bad_rows: BadRows) -> Iterator[list[Proposition]]:
    """The propositions of each sentence; none where it has no predicate."""
    for block in blocks(lines(path)):
        propositions: list[Proposition] = []
        with bad_rows:
            propositions = _propositions(block)
        yield propositions


def _propositions(block: Sequence[Line]) -> list[Proposition]:
    rows = [(line, line.text.split()) for line in block if not line.text.startswith("#")]
    if not rows:
        return []
    width = len(rows[0][1])
    for line, fields in rows:
        if len(fields) != width or width < FIRST:
            expected = f"{width} as in the sentence's first line" if width >= FIRST else f"{FIRST} at least"
            raise BadRow(f"{line.where}: {len(fields)} columns, wanted {expected}: {line.text[:60]!r}")
    words = tuple(fields[WORD] for _, fields in rows)
    return [_proposition(words, rows, column) for column in range(FIRST, width)]


def _proposition(words: tuple[str, ...], rows: Sequence[tuple[Line, list[str]]], column: int) -> Proposition:
    """The example of a column of roles."""
    tags: list[str] = []
    role = ""
    for line, fields in rows:
        match = BRACKET.fullmatch(fields[column])
        if match is None or (match[1] and role) or (match[2] and not (role or match[1])):
            raise BadRow(
                f"{line.where}: {fields[column]!r} in column {column + 1}; wanted *, or a bracket such as (ARG0*, *) or (V*)"
            )
        begins, role = bool(match[1]), match[1] or role
        tags.append(f"{'B' if begins else 'I'}-{role}" if role else "O")
        role = "" if match[2] else role
    predicate = tuple(place for place, tag in enumerate(tags) if tag[2:] == VERB)
    if role or not predicate:
        what = f"the bracket of {role} is not closed" if role else f"there is no predicate, ({VERB}*)"
        raise BadRow(f"{rows[-1][0].where}: {what} in column {column + 1}")
    return Proposition(words, tuple(tags), predicate)
