"""Passages with questions whose answers are parts of them: SQuAD's JSON, its words, and windows of long passages.

Reference: P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, SQuAD: 100,000+ questions for machine comprehension of text, EMNLP 2016.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from minilm.data.lines import REFUSE, BadRow, BadRows, require_text, whole_text
from minilm.recipes.cutting import word_pattern
from minilm.recipes.stories import WORD, Story, words_of
from minilm.typing import PathLike

__all__ = ["Question", "Word", "of_story", "read_squad", "span_of", "windows", "words"]

_WORD = re.compile(rf"{word_pattern()}(?:['’]{word_pattern()})*|\S")


class Question(NamedTuple):
    """A question about a passage."""

    passage: str
    question: str
    answers: tuple[str, ...]  # all that are right
    start: int  # where the first of them begins in the passage


class Word(NamedTuple):
    """A word, and where it stands."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """Words, and every other mark by itself."""
    return [Word(match[0], match.start(), match.end()) for match in _WORD.finditer(text)]


def span_of(places: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The first and the last of some words (or tokens) that have a part in [start, end); None if none has.

    Parameters
    ----------
    places : sequence of (start, end)
    start, end : int
    """
    touched = [number for number, (a, b) in enumerate(places) if a < end and b > start and b > a]
    return (touched[0], touched[-1]) if touched else None


def windows(count: int, most: int) -> list[tuple[int, int]]:
    """Parts [start, end) of `count` words, of `most` words at most, each begun in the middle of the one before."""
    step, start, spans = max(1, most // 2), 0, []
    while True:
        spans.append((start, min(count, start + most)))
        if start + most >= count:
            return spans
        start += step


def of_story(story: Story) -> Question:
    """A story as a passage, its answer a word of the latest supporting sentence that has it, else of the latest sentence.

    Raises
    ------
    BadRow
        The answer stands nowhere in the story.
    """
    passage, starts = " ".join(story.sentences), [0]
    for sentence in story.sentences:
        starts.append(starts[-1] + len(sentence) + 1)
    having = [number for number, sentence in enumerate(story.sentences) if story.answer.lower() in words_of(sentence)]
    if not having:
        raise BadRow(f"a reader finds answers in the story, and {story.answer!r} is not in it: {story.question!r}")
    where = max([number for number in having if number in story.support] or having)
    places = [word.start() for word in WORD.finditer(story.sentences[where]) if word[0].lower() == story.answer.lower()]
    place = starts[where] + places[-1]
    return Question(passage, story.question, (passage[place : place + len(story.answer)],), place)


def read_squad(path: PathLike, bad_rows: BadRows = REFUSE) -> list[Question]:
    """Questions of a file in SQuAD's form; those of version 2.0 that have no answer are left out.

    ::

        {"data": [{"paragraphs": [{"context": "...", "qas": [
            {"question": "...", "answers": [{"text": "...", "answer_start": 0}]}
        ]}]}]}

    Parameters
    ----------
    path : str or os.PathLike
    bad_rows : BadRows
        A row is a question, or a passage or an article that is wrong itself.

    Raises
    ------
    ValueError
        Naming the file, and the line where it is no JSON, or the place in it such as ``data[0].paragraphs[3].qas[1]``; what came
        and what was wanted.
    """
    name = os.fspath(path)
    content = whole_text(path)
    try:
        whole = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}:{error.lineno}: not valid JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not valid JSON ({error})") from None
    questions: list[Question] = []
    for a, article in enumerate(_field(whole, "data", list, name, "")):
        place = f"data[{a}]"
        with bad_rows:
            for p, paragraph in enumerate(_field(article, "paragraphs", list, name, place)):
                with bad_rows:
                    questions += _questions(paragraph, name, f"{place}.paragraphs[{p}]", bad_rows)
    bad_rows.require(questions, f"{name}: holds no question with an answer")
    return questions


def _questions(paragraph, name: str, where: str, bad_rows: BadRows) -> list[Question]:
    passage = _field(paragraph, "context", str, name, where)
    questions = []
    for q, entry in enumerate(_field(paragraph, "qas", list, name, where)):
        with bad_rows:
            question = _question(passage, entry, name, f"{where}.qas[{q}]")
            if question is not None:
                questions.append(question)
    return questions


def _question(passage: str, entry, name: str, where: str) -> Question | None:
    question = _field(entry, "question", str, name, where)
    if not words(question):
        raise BadRow(f"{name}: {where}: the question is empty")
    answers = _field(entry, "answers", list, name, where)
    if not answers:
        if entry.get("is_impossible"):
            return None
        raise BadRow(f"{name}: {where}: has no answer; wanted one at least, or is_impossible")
    texts, first = [], 0
    for number, answer in enumerate(answers):
        inside = f"{where}.answers[{number}]"
        text = _field(answer, "text", str, name, inside)
        start = _field(answer, "answer_start", int, name, inside)
        if not words(text):
            raise BadRow(f"{name}: {inside}: the answer is empty")
        context = passage[max(0, start) : max(0, start) + len(text)]
        if start < 0 or context != text:
            raise BadRow(f"{name}: {inside}: wanted {text[:40]!r} at {start} of the context, which has {context[:40]!r} there")
        texts.append(text)
        first = first if number else start
    return Question(passage, question, tuple(texts), first)


def _field(value, key: str, kind: type, name: str, where: str):
    path = f"{where}.{key}" if where else key
    content = value.get(key) if isinstance(value, dict) else None
    if not isinstance(content, kind) or isinstance(content, bool):
        expected = {list: "a list", str: "a text", int: "a whole number"}[kind]
        got = "nothing" if content is None else type(content).__name__
        raise BadRow(f"{name}: {path}: wanted {expected}, got {got}")
    return require_text(content, f"{name}: {path}") if kind is str else content
