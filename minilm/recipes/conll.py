"""Tagged sentences from files in CoNLL's form: one word a line, its tag in the last column, an empty line between sentences.

Columns are parted by tabs, or by blanks; a no-break space is part of its word. ``-DOCSTART-`` ends a sentence as an empty line
does. Lines before a sentence that begin with "#" are comments. Where the first column numbers the words, as in CoNLL-U, the
second holds them; multiword tokens (1-2) and empty nodes (1.1) are no words of the sentence.

Tags are those of spans, O and B- or I- with a type, or any others, such as parts of speech: a tag a word. Of CoNLL-U, whose ten
columns hold two kinds of them, the universal ones (column 4) are taken.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from minilm.data.lines import REFUSE, BadRow, BadRows, Line, lines
from minilm.metrics.entities import is_tag, type_of
from minilm.ops import checks
from minilm.recipes.labelled import parts_of, split
from minilm.typing import PathLike

__all__ = ["Featured", "Sentence", "blocks", "read"]

ENDINGS = (".txt", ".conll", ".conllu", ".bio", ".iob", ".iob2", ".tsv", "")
RANGE = re.compile(r"\d+[-.:]\d+")  # of a multiword token, or an empty node
CONLLU, UPOS = 10, 3  # columns of CoNLL-U, and the place of the universal part of speech
SETTINGS = "the settings word_column and tag_column name other columns"


class Sentence(NamedTuple):
    """Words and their tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Featured(NamedTuple):
    """Words, their tags, and what else is known of each word: a feature, such as its part of speech."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    features: tuple[str, ...]


class Columns(NamedTuple):
    """Where words and tags stand in a file."""

    count: int
    line: int  # where they were counted
    word: int  # from 0
    tag: int
    feature: int | None  # None where there is no such column
    numbered: bool  # whether the first column numbers the words
    spans: bool  # whether tags are those of spans


def _fields(text: str) -> list[str]:
    if "\t" in text:
        return [field.strip(" ") for field in text.split("\t")]
    return [field for field in text.split(" ") if field]


def blocks(rows: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines of each sentence, with the comments before it."""
    block: list[Line] = []
    for line in rows:
        content = line.content.strip(b" \t")
        if content and not content.startswith(b"-DOCSTART-"):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _columns(rows: Sequence[Line], path, chosen: dict[str, int | None], spans: bool) -> Columns:
    """The columns that most lines of a file have."""
    counts: Counter[int] = Counter()
    firsts: dict[int, int] = {}
    kinds: Counter[str] = Counter()
    for block in blocks(rows):
        for line in block:
            fields = _fields(line.content.decode("utf-8", "replace"))
            if not fields[0].startswith("#"):
                counts[len(fields)] += 1
                firsts.setdefault(len(fields), line.number)
                kinds["number" if fields[0].isdecimal() else "range" if RANGE.fullmatch(fields[0]) else "word"] += 1
    count = counts.most_common(1)[0][0] if counts else 2
    line = firsts.get(count, 1)
    word_column, tag_column, feature_column = chosen.values()
    for name, column in chosen.items():
        if column is not None and not 1 <= checks.whole(name, column, 0, 2**31) <= count:
            raise ValueError(f"{os.fspath(path)}:{line}: {count} columns, so {name} must lie in [1, {count}], got {column}")
    numbered = word_column != 1 and count > 2 and 2 * kinds["number"] > kinds.total()
    if word_column is None and count > 2 and 2 * kinds["range"] > kinds.total():
        raise ValueError(f"{os.fspath(path)}:{line}: the first column holds numbers; the setting word_column names that of words")
    word = int(numbered) if word_column is None else word_column - 1
    last = UPOS if count == CONLLU and numbered and not spans else count - 1
    tag = last if tag_column is None else tag_column - 1
    if word == tag and count > 1:
        raise ValueError(f"{os.fspath(path)}:{line}: word_column and tag_column must differ, got {word + 1} for both")
    feature = None if feature_column is None else feature_column - 1
    if feature in (word, tag):
        which = "words" if feature == word else "tags"
        raise ValueError(f"{os.fspath(path)}:{line}: feature_column must be another than that of the {which}, got {feature + 1}")
    return Columns(count, line, word, tag, feature, numbered, spans)


def _refuse_levels(rows: Iterable[Line], columns: Columns) -> None:
    """ValueError where the column before the last holds tags of the same types: entities inside of entities."""
    types: tuple[set[str], set[str]] = set(), set()
    place = None
    for block in blocks(rows):
        for line in block:
            fields = _fields(line.content.decode("utf-8", "replace"))
            if len(fields) == columns.count and not fields[0].startswith("#"):
                if not all(map(is_tag, fields[-2:])):
                    return
                for level, tag in zip(types, fields[-2:], strict=True):
                    level.update({type_of(tag)} - {""})
                place = place or line.where
    outer, inner = types
    if outer and inner <= outer:
        raise ValueError(
            f"{place}: columns {columns.count - 1} and {columns.count} both hold tags of {', '.join(sorted(inner or outer))}; "
            "the setting tag_column says which of them is meant"
        )


def _sentence(block: Sequence[Line], columns: Columns) -> tuple[list[int], Sentence | Featured]:
    """The words and tags of a block, with the numbers of their lines."""
    numbers, words, tags, features = [], [], [], []
    for line in block:
        text = line.text
        fields = _fields(text)
        if (not words and _is_comment(fields, columns)) or (columns.numbered and RANGE.fullmatch(fields[0])):
            continue
        word, tag = _word_and_tag(text, fields, columns, line.where)
        numbers.append(line.number)
        words.append(word)
        tags.append(tag)
        if columns.feature is not None:
            features.append(_feature(fields, columns, line.where))
    sentence = Sentence(tuple(words), tuple(tags))
    return numbers, sentence if columns.feature is None else Featured(*sentence, tuple(features))


def _feature(fields: Sequence[str], columns: Columns, where: str) -> str:
    feature = fields[columns.feature]
    if not feature:
        raise BadRow(f"{where}: column {columns.feature + 1} is empty; wanted a feature, as feature_column says")
    return feature


def _is_comment(fields: Sequence[str], columns: Columns) -> bool:
    if not fields[0].startswith("#"):
        return False
    if len(fields) != columns.count:
        return len(fields) > 1 or fields[0] == "#"
    return columns.numbered or (fields[0] == "#" and columns.spans and not is_tag(fields[columns.tag]))


def _word_and_tag(text: str, fields: Sequence[str], columns: Columns, where: str) -> tuple[str, str]:
    if "\r" in text:
        raise BadRow(f"{where}: a carriage return inside the line {text[:60]!r}; wanted the same line ends everywhere")
    if len(fields) < 2:
        raise BadRow(f"{where}: one column, {text.strip()[:40]!r}; wanted a word and, in the last column, its tag")
    if len(fields) != columns.count:
        raise BadRow(f"{where}: {len(fields)} columns, wanted {columns.count} as in line {columns.line}: {text[:60]!r}")
    if columns.numbered and not fields[0].isdecimal():
        raise BadRow(f"{where}: {fields[0]!r} in the first column; wanted the word's number, as in the other lines; {SETTINGS}")
    word, tag = fields[columns.word], fields[columns.tag]
    if not word:
        which = "the first column" if columns.word == 0 else f"column {columns.word + 1}"
        raise BadRow(f"{where}: {which} is empty; wanted a word")
    if not tag:
        raise BadRow(f"{where}: column {columns.tag + 1} is empty; wanted a tag")
    if columns.spans and not is_tag(tag):
        raise BadRow(
            f"{where}: the tag {tag!r}; wanted O, or B- or I- (also E-, S-, L-, U-, M-, W-) with a type, as B-PER, or B and I "
            f"alone; {SETTINGS}"
        )
    return word, tag


def _read_rows(rows: Iterable[Line], columns: Columns, bad_rows: BadRows) -> Iterator[tuple[list[int], Sentence | Featured]]:
    """The sentences of a file, each with the numbers of its lines."""
    for block in blocks(rows):
        numbers: list[int] = []
        with bad_rows:
            numbers, sentence = _sentence(block, columns)
        if numbers:
            yield numbers, sentence


def read(
    path: PathLike,
    word_column: int | None = None,
    tag_column: int | None = None,
    bad_rows: BadRows = REFUSE,
    *,
    spans: bool = True,
    feature_column: int | None = None,
) -> tuple[list, list]:
    """The training and the validation part of tagged sentences.

    Parameters
    ----------
    path : str or os.PathLike
        A file, every tenth sentence of which is for validation; or a folder with train and dev (valid, test) and an ending such
        as .txt or .conll.
    word_column, tag_column : int, optional
        Where words and tags stand, from 1. Without them words are in the first column, or in the second where the first one
        numbers them, and tags in the last.
    bad_rows : BadRows
        A row is a sentence.
    spans : bool
        Whether tags are O, and B- or I- with a type; else any are.
    feature_column : int, optional
        Where something else that is known of each word stands: sentences are `Featured` then.

    Raises
    ------
    FileNotFoundError
    ValueError
        With file and line: a wrong number of columns, an empty word, something that is no tag, or columns whose meaning is not
        clear.
    """
    train_file, validation_file = parts_of(path, ENDINGS)
    rows = list(lines(train_file))
    chosen = {"word_column": word_column, "tag_column": tag_column, "feature_column": feature_column}
    columns = _columns(rows, train_file, chosen, spans)
    if spans and tag_column is None and columns.tag > columns.word + 1:
        _refuse_levels(rows, columns)
    train = list(_read_rows(rows, columns, bad_rows))
    bad_rows.require(train, f"{train_file}: there are no sentences in it")
    if validation_file is None:
        train, validation = split(train)
    else:
        rows = list(lines(validation_file))
        columns = _columns(rows, validation_file, chosen, spans)
        validation = list(_read_rows(rows, columns, bad_rows))
    return [sentence for _, sentence in train], [sentence for _, sentence in validation]
