"""How much data there is at a path: examples, tokens and different words, in the forms that the recipes read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from minilm.data.lines import lines
from minilm.planner.candidates import Data
from minilm.typing import PathLike

__all__ = ["data_of"]

PIECES = 1.3  # pieces of words for a word, about
KINDS = 200_000  # different words that are remembered
TABLE = 30_000  # words that a vocabulary has at most
OTHERS = (".zip", ".md", ".png", ".safetensors", ".csv")


def data_of(task: str, path: PathLike) -> Data:
    """Count the data at a path.

    Parameters
    ----------
    task : str
        language-model: a token is a character, and all is one text. tag: a token is a line, and an empty line ends a sentence.
        answer: SQuAD's JSON. translate, summarise: a line is a pair, and a folder's files hold one side each. Else a line is an
        example, and a token a word.
    path : str or os.PathLike
        A file, also with .gz, or a folder; of a folder those whose names begin with "train", where there are some.

    Raises
    ------
    FileNotFoundError
    ValueError
        There is no text in it, or it is no text.
    """
    path = os.fspath(path)
    files = _files(path)
    if task == "answer" and all(name.endswith((".json", ".json.gz")) for name in files):
        return _squad(path, files)
    lines = words = characters = blocks = 0
    kinds, signs = set(), set()
    for name in files:
        inside = False
        for text in _lines(name):
            line_words = text.split()
            lines, words, characters = lines + bool(line_words), words + len(line_words), characters + len(text)
            blocks += bool(line_words) and not inside
            inside = bool(line_words)
            signs.update(text)
            if len(kinds) < KINDS:
                kinds.update(line_words[:1] if task == "tag" else line_words)
    if not words:
        raise ValueError(f"{path}: there is no text in it")
    if task == "language-model":
        return Data(
            1, characters, len(signs), f"{path}: {characters:,} characters, {len(signs)} different ones, which are tokens"
        )
    if task == "tag":
        return Data(
            blocks, lines, _table(kinds), f"{path}: {blocks:,} sentences of {lines:,} words, {len(kinds):,} different ones"
        )
    sides = len(files) if task in ("translate", "summarise") and len(files) > 1 else 1
    examples = max(1, lines // sides)
    tokens = round((PIECES if task in ("translate", "summarise", "answer") else 1) * words)
    summary = f"{path}: {examples:,} examples, {words:,} words, {len(kinds):,} different ones"
    return Data(examples, tokens, _table(kinds), summary)


def _table(kinds) -> int:
    return max(2, min(len(kinds), TABLE))


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    names = [name for name in sorted(os.listdir(path)) if os.path.isfile(os.path.join(path, name)) and not name.endswith(OTHERS)]
    train = [name for name in names if name.startswith("train")]
    if not names:
        raise ValueError(f"{path}: there are no files in it that could hold text")
    return [os.path.join(path, name) for name in train or names]


def _lines(name: str) -> Iterator[str]:
    for line in lines(name):
        yield f"{line.text}\n"


def _squad(path: str, files: list[str]) -> Data:
    """Passages and questions of SQuAD's JSON, in which a question stands with its passage."""
    questions = tokens = 0
    kinds: set[str] = set()
    for name in files:
        try:
            content = json.loads("".join(_lines(name)))
            for article in content["data"]:
                for paragraph in article["paragraphs"]:
                    context = paragraph["context"].split()
                    kinds.update(context)
                    for each in paragraph["qas"]:
                        questions += 1
                        tokens += len(context) + len(each["question"].split())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name}: not in SQuAD's form ({type(error).__name__}: {error})") from None
    if not questions:
        raise ValueError(f"{path}: there are no questions in it")
    return Data(questions, tokens, _table(kinds), f"{path}: {questions:,} questions, passages of {tokens // questions:,} words")
