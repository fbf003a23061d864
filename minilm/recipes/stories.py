"""Stories with questions, made up or read: what the recipe `answer` has for memory networks.

The world of the built-in ones: people walk between places, pick things up and put them down; a thing is where it was put, or
where the person is who carries it. What is asked follows bAbI's first three tasks, by how many sentences an answer rests on:

1. Where is a person? Where they went last: one sentence.
2. Where is a thing? With whoever picked it up and where that person is, or where it was put: two.
3. Where was a thing before a place? The last three of its moves: three.

Reference: J. Weston et al., Towards AI-complete question answering: a set of prerequisite toy tasks, arXiv:1502.05698.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import numpy as np

from minilm.data.lines import REFUSE, BadRow, BadRows, Line, lines
from minilm.typing import PathLike

__all__ = ["Story", "generate", "read_babi", "words_of"]

PEOPLE = ("Anna", "Boris", "Clara", "Dmitri")
PLACES = ("attic", "cellar", "garden", "kitchen", "library", "stable")
THINGS = ("apple", "lantern", "violin")
GO = ("went to", "walked to", "moved to", "ran to")
TAKE = ("picked up", "took", "grabbed")
LEAVE = ("put down", "dropped", "left")
WORD = re.compile(r"[^\s.?!;:\"]+(?:(?<=\d)[.:]\d[^\s.?!;:\"]*)*")
LENGTHS = {1: (2, 10), 2: (6, 24), 3: (12, 40)}  # sentences of a story: at least, at most


class Story(NamedTuple):
    """A question about a story."""

    sentences: tuple[str, ...]
    question: str
    answer: str
    support: tuple[int, ...]  # the numbers of the sentences that the answer rests on, from 0; perhaps none is known


class _World:
    """What is true after each sentence."""

    def __init__(self, rng):
        self._rng = rng
        self.sentences: list[str] = []
        self.at: dict[str, tuple[str, int]] = {}  # person -> place, and the sentence that told it
        self.holder: dict[str, tuple[str, int]] = {}  # thing -> person, likewise
        self.lies: dict[str, str] = {}  # thing -> place, where it was put
        self.track: dict[str, list[tuple[str, int]]] = {item: [] for item in THINGS}  # its places, with their sentences

    def _one(self, among):
        return among[self._rng.integers(len(among))]

    def step(self, things: bool) -> None:
        """One more sentence."""
        person = self._one(PEOPLE)
        if things and person in self.at and self._rng.random() < 0.5 and self._handle(person):
            return
        self._go(person)

    def _go(self, person: str) -> None:
        current = self.at.get(person, ("", 0))[0]
        place = self._one([each for each in PLACES if each != current])
        number = self._say(f"{person} {self._one(GO)} the {place}.")
        self.at[person] = (place, number)
        for item, (holder, _) in self.holder.items():
            if holder == person:
                self.track[item].append((place, number))

    def _handle(self, person: str) -> bool:
        """Pick something up or put it down, if that can be."""
        place = self.at[person][0]
        held = [item for item, (holder, _) in self.holder.items() if holder == person]
        # nobody has said where a thing is at first: it turns up wherever somebody takes it
        present = [item for item in THINGS if item not in self.holder and self.lies.get(item, place) == place]
        if held and (not present or self._rng.random() < 0.5):
            item = self._one(held)
            self._say(f"{person} {self._one(LEAVE)} the {item}.")
            del self.holder[item]
            self.lies[item] = place
            return True
        if not present:
            return False
        item = self._one(present)
        number = self._say(f"{person} {self._one(TAKE)} the {item}.")
        self.holder[item] = (person, number)
        self.lies.pop(item, None)
        if not self.track[item] or self.track[item][-1][0] != place:
            self.track[item].append((place, self.at[person][1]))
        return True

    def _say(self, sentence: str) -> int:
        self.sentences.append(sentence)
        return len(self.sentences) - 1

    def ask(self, task: int) -> Story | None:
        """A question of a task, or None if none can be asked yet."""
        if task == 1:
            if not self.at:
                return None
            person = self._one(sorted(self.at))
            place, number = self.at[person]
            return self._story(f"Where is {person}?", place, {number})
        known = sorted(item for item, track in self.track.items() if len(track) >= task - 1)
        if not known:
            return None
        item = self._one(known)
        track = self.track[item]
        handled = [number for number, sentence in enumerate(self.sentences) if sentence.endswith(f" the {item}.")]
        if task == 2:
            place = track[-1][0]
            person = self.sentences[handled[-1]].split()[0]
            # where its carrier was when it was put down, or is now
            until = len(self.sentences) if item in self.holder else handled[-1]
            last = max(n for n in range(until) if re.fullmatch(f"{person} .* {place}\\.", self.sentences[n]))
            return self._story(f"Where is the {item}?", place, {handled[-1], last})
        visited = [place for place, _ in track]
        at = self._rng.integers(1, len(visited))
        place, before = visited[at], visited[at - 1]
        if visited.index(place, 1) != at or place in visited[at + 1 :] or place == visited[0]:
            return None  # it was there more than once: the question would have several answers
        earlier = track[at - 1][1]
        pickup = max(number for number in handled if number < track[at][1])
        return self._story(f"Where was the {item} before the {place}?", before, {earlier, pickup, track[at][1]})

    def _story(self, question: str, answer: str, support: set[int]) -> Story:
        return Story(tuple(self.sentences), question, answer, tuple(sorted(support)))


def generate(task: int, count: int, rng: np.random.Generator) -> list[Story]:
    """Made-up stories.

    Parameters
    ----------
    task : {1, 2, 3}
    count : int
    rng : Generator

    Returns
    -------
    list of Story
        Each with a question of its own; lengths are uniform between `LENGTHS` of the task.
    """
    if task not in LENGTHS:
        raise ValueError(f"task must be 1, 2 or 3, got {task!r}")
    stories: list[Story] = []
    while len(stories) < count:
        world, (least, most) = _World(rng), LENGTHS[task]
        for _ in range(rng.integers(least, most + 1)):
            world.step(task > 1)
        story = world.ask(task)
        if story is not None:
            stories.append(story)
    return stories


def words_of(sentence: str) -> list[str]:
    """Its words in lower case, without punctuation; an answer of several words joined by commas is one word.

    >>> words_of("Mary's path is n,w. 3.14 miles?")
    ["mary's", 'path', 'is', 'n,w', '3.14', 'miles']
    """
    return WORD.findall(sentence.lower())


def read_babi(path: PathLike, bad_rows: BadRows = REFUSE) -> list[Story]:
    """Stories in bAbI's form.

    ::

        1 Mary moved to the bathroom.
        2 John went to the hallway.
        3 Where is Mary?    bathroom    1          question, answer and supporting lines with tabs between them
        1 ...                                      the next story

    Parameters
    ----------
    path : str or os.PathLike
    bad_rows : BadRows
        A row is what a story has from the bad line on.

    Raises
    ------
    ValueError
        Naming the file and the line, what came and what was wanted.
    """
    stories: list[Story] = []
    story: _Reading | None = _Reading()
    for line in lines(path):
        if line.content.startswith(b"1 "):
            story = _Reading()
        if story is None:  # a line of it was bad
            continue
        current, story = story, None
        with bad_rows:
            question = current.read(line)
            stories += [] if question is None else [question]
            story = current
    bad_rows.require(stories, f"{os.fspath(path)}: holds no question; wanted lines such as '3 Where is Mary?\\tbathroom\\t1'")
    return stories


class _Reading:
    """A story that is being read, line by line."""

    def __init__(self):
        self.sentences: list[str] = []
        self.numbers: dict[int, int] = {}  # a line's number -> its sentence
        self.expected = 1

    def read(self, line: Line) -> Story | None:
        """Take a line; the question that it asks."""
        where, text = line.where, line.text
        head, _, rest = text.partition(" ")
        number = _number(head)
        if number is None or not rest.strip():
            raise BadRow(f"{where}: got {text[:60]!r}; wanted a number, a blank and a sentence")
        if number != self.expected:
            raise BadRow(f"{where}: got line {number} of a story; wanted {self.expected}, or 1 for the next story")
        self.expected = number + 1
        question, *fields = rest.split("\t")
        if fields:
            return self._question(question.strip(), fields, where)
        if not words_of(rest):
            raise BadRow(f"{where}: the sentence {rest!r} has no words")
        self.numbers[number] = len(self.sentences)
        self.sentences.append(rest.strip())
        return None

    def _question(self, question: str, fields: list[str], where: str) -> Story:
        if len(fields) > 2:
            raise BadRow(f"{where}: got {len(fields) + 1} columns; wanted a question, an answer and supporting lines")
        answer = fields[0].strip()
        if not question or not answer or not words_of(question):
            raise BadRow(f"{where}: the {'answer' if question else 'question'} is empty")
        if len(answer.split()) > 1:
            raise BadRow(f"{where}: got the answer {answer!r}; wanted one word")
        if not self.sentences:
            raise BadRow(f"{where}: a question before any sentence")
        support = _support(fields[1] if len(fields) > 1 else "", self.numbers, where)
        return Story(tuple(self.sentences), question, answer, support)


def _number(text: str) -> int | None:
    """A line's number; None if it is none. (Python reads no number of more than some thousand digits.)"""
    return int(text) if text.isdecimal() and len(text) < 20 else None


def _support(text: str, numbers: dict[int, int], where: str) -> tuple[int, ...]:
    support = []
    for word in text.split():
        number = _number(word)
        if number not in numbers:
            raise BadRow(f"{where}: got the supporting line {word!r}; wanted the number of a sentence before the question")
        support.append(numbers[number])
    return tuple(support)
