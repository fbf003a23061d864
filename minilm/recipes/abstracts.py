"""Texts with summaries of one sentence from JSON lines, as SciTLDR has them: abstracts of papers, and what they say in short.

A line is an object with ``source``, the text or a list of its sentences, and ``target``, the summary or a list of several, by
different people. One is learned from the first summary; a prediction counts by the one that it comes nearest to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from minilm.data.lines import REFUSE, BadRow, BadRows, lines, require_text
from minilm.metrics.rouge import rouge_l
from minilm.recipes import cutting
from minilm.recipes.labelled import parts_of, split
from minilm.typing import PathLike

__all__ = ["ENDINGS", "Abstract", "Extracted", "Parts", "read"]

ENDINGS = (".jsonl", ".json")


class Parts(NamedTuple):
    """What a line holds, of which `Abstract` and `Extracted` are made."""

    source: Sequence[str]  # sentences, or a text that is still to be cut into them
    target: Sequence[str]  # summaries

    @classmethod
    def of(cls, source: Sequence[str], target: Sequence[str]) -> Parts:
        """From the sentences of a text, and its summaries."""
        return cls(source, target)


class Abstract(NamedTuple):
    """A text, its summary, and other people's summaries."""

    source: str
    target: str
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Sequence[str], target: Sequence[str]) -> Abstract:
        """From the sentences of a text, and its summaries."""
        return cls(" ".join(source), target[0], tuple(target[1:]))


class Extracted(Abstract):
    """A text, and for a summary the sentence of it that is nearest to one, by ROUGE-L: to learn from, not to measure by."""

    @classmethod
    def of(cls, source: Sequence[str], target: Sequence[str]) -> Extracted:
        """From the sentences of a text, or a text that is still to be cut into them, and its summaries."""
        sentences = source if len(source) > 1 else cutting.sentences(source[0]) or source
        nearest = max(sentences, key=lambda sentence: max(rouge_l(sentence, summary).f1 for summary in target))
        return cls(" ".join(source), nearest)


def read(path: PathLike, bad_rows: BadRows = REFUSE, kind: Any = Abstract) -> tuple[list, list]:
    """The training and the validation part.

    Parameters
    ----------
    path : str or os.PathLike
        A file, every tenth line of which is for validation; or a folder with train and dev (valid, test) and the ending .jsonl or
        .json, also with .gz.
    bad_rows : BadRows
    kind : class
        What an example is: made by ``kind.of(sentences, summaries)``, as `Abstract` is.

    Raises
    ------
    FileNotFoundError
    ValueError
        With file and line: no JSON object, or one without a source or a target.
    """
    first, second = parts_of(path, ENDINGS)
    train = list(_read_file(first, bad_rows, kind))
    bad_rows.require(train, f"{os.fspath(first)}: there are no lines in it")
    if second is not None:
        return train, list(_read_file(second, bad_rows, kind))
    return split(train)


def _read_file(path: PathLike, bad_rows: BadRows, kind: Any) -> Iterator[Any]:
    for line in lines(path):
        parts = None
        with bad_rows:
            parts = _source_and_target(line.text, line.where)
        if parts is not None:
            yield kind.of(*parts)


def _source_and_target(text: str, where: str) -> tuple[list[str], list[str]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadRow(f"{where}: {text[:60]!r} is no JSON object; wanted one with source and target")
    return _texts(content.get("source"), "source", where), _texts(content.get("target"), "target", where)


def _texts(value: Any, name: str, where: str) -> list[str]:
    """A text or several, in one line each, without those that are empty."""
    several = value if isinstance(value, list) else [value]
    texts = [" ".join(each.split()) for each in several if isinstance(each, str)]
    if len(texts) != len(several) or not any(texts):
        raise BadRow(f"{where}: {name} is {str(value)[:40]!r}; wanted a text, or a list of texts")
    return [require_text(each, f"{where}: {name}") for each in texts if each]
