"""Passages with questions whose answers are parts of them: SQuAD's JSON, its words, and windows of long passages.

Reference: P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, SQuAD: 100,000+ questions for machine comprehension of text, EMNLP 2016.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

from minilm.recipes.stories import Story, words_of

__all__ = ["Question", "Word", "of_story", "read_squad", "span_of", "windows", "words"]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


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


def span_of(places, start: int, end: int) -> tuple[int, int] | None:
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
    step, start, found = max(1, most // 2), 0, []
    while True:
        found.append((start, min(count, start + most)))
        if start + most >= count:
            return found
        start += step


def of_story(story: Story) -> Question:
    """A story as a passage, its answer a word of the latest supporting sentence that has it, else of the latest sentence.

    Raises
    ------
    ValueError
        The answer stands nowhere in the story.
    """
    passage, starts = " ".join(story.sentences), [0]
    for sentence in story.sentences:
        starts.append(starts[-1] + len(sentence) + 1)
    having = [number for number, sentence in enumerate(story.sentences) if story.answer.lower() in words_of(sentence)]
    if not having:
        raise ValueError(f"a reader finds answers in the story, and {story.answer!r} is not in it: {story.question!r}")
    where = max([number for number in having if number in story.support] or having)
    found = [word for word in words(story.sentences[where]) if word.text.lower() == story.answer.lower()]
    place = starts[where] + found[-1].start
    return Question(passage, story.question, (passage[place : place + len(story.answer)],), place)


def read_squad(path) -> list[Question]:
    """Questions of a file in SQuAD's form; those of version 2.0 that have no answer are left out.

    ::

        {"data": [{"paragraphs": [{"context": "...", "qas": [
            {"question": "...", "answers": [{"text": "...", "answer_start": 0}]}
        ]}]}]}

    Raises
    ------
    ValueError
        Naming the file, and the line where it is no JSON, or the place in it such as ``data[0].paragraphs[3].qas[1]``; what came
        and what was wanted.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        whole = json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}:{error.lineno}: not valid JSON ({error.msg}, column {error.colno})") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{name}: not valid JSON ({error})") from None
    found: list[Question] = []
    for a, article in enumerate(_field(whole, "data", list, name, "")):
        place = f"data[{a}]"
        for p, paragraph in enumerate(_field(article, "paragraphs", list, name, place)):
            inside = f"{place}.paragraphs[{p}]"
            passage = _field(paragraph, "context", str, name, inside)
            for q, asked in enumerate(_field(paragraph, "qas", list, name, inside)):
                question = _question(passage, asked, name, f"{inside}.qas[{q}]")
                if question is not None:
                    found.append(question)
    if not found:
        raise ValueError(f"{name}: holds no question with an answer")
    return found


def _question(passage: str, asked, name: str, where: str) -> Question | None:
    question = _field(asked, "question", str, name, where)
    if not words(question):
        raise ValueError(f"{name}: {where}: the question is empty")
    answers = _field(asked, "answers", list, name, where)
    if not answers:
        if asked.get("is_impossible"):
            return None
        raise ValueError(f"{name}: {where}: has no answer; wanted one at least, or is_impossible")
    texts, first = [], 0
    for number, answer in enumerate(answers):
        inside = f"{where}.answers[{number}]"
        text = _field(answer, "text", str, name, inside)
        start = _field(answer, "answer_start", int, name, inside)
        if not words(text):
            raise ValueError(f"{name}: {inside}: the answer is empty")
        there = passage[max(0, start) : max(0, start) + len(text)]
        if start < 0 or there != text:
            raise ValueError(f"{name}: {inside}: wanted {text[:40]!r} at {start} of the context, which has {there[:40]!r} there")
        texts.append(text)
        first = first if number else start
    return Question(passage, question, tuple(texts), first)


def _field(value, key: str, kind: type, name: str, where: str):
    path = f"{where}.{key}" if where else key
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        wanted = {list: "a list", str: "a text", int: "a whole number"}[kind]
        got = "nothing" if found is None else type(found).__name__
        raise ValueError(f"{name}: {path}: wanted {wanted}, got {got}")
    return found
