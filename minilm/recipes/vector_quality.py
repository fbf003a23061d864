"""How good vectors of words are: analogies, and the neighbours of words in lines that were not trained on.

::

    question   a is to b as c is to d     answered where d is the word nearest to b - a + c
    pair       word, near, other          right where o[near] · i[word] > o[other] · i[word]     i, o: word2vec's two tables

A pair's second word stood near the first, the third was drawn as the negatives of training are: half of all guesses are right.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.data.lines import REFUSE, BadRow, BadRows, lines
from minilm.models.word2vec import Word2Vec
from minilm.models.word2vec_training import alias_tables
from minilm.models.word_vectors import WordVectors
from minilm.recipes.relations import Question
from minilm.typing import PathLike

__all__ = ["Pair", "chance", "in_vocabulary", "of_pairs", "of_questions", "pairs", "read_questions"]

PAIRS = 4000  # most, that validation has


class Pair(NamedTuple):
    """Two words that stood near each other in text that was not trained on, and one that was drawn at random."""

    word: str
    near: str
    other: str


def read_questions(path: PathLike, bad_rows: BadRows = REFUSE) -> list[Question]:
    """Analogies in the form of questions-words.txt.

    Raises
    ------
    ValueError
        With the file and the line: what came and what was wanted.
    """
    questions: list[Question] = []
    section = "questions"
    for line in lines(path):
        with bad_rows:
            parts = line.text.lower().split()
            if parts and parts[0].startswith(":"):
                section = " ".join(parts).lstrip(": ").strip() or "questions"
            elif len(parts) == 4:
                questions.append(Question(*parts, section, 0))
            elif parts:
                raise BadRow(f'{line.where}: {len(parts)} words, wanted four, or a line ": NAME"')
    bad_rows.require(questions, f"{os.fspath(path)}: there are no questions in it")
    sizes: dict[str, set[str]] = {}
    for question in questions:
        sizes.setdefault(question.relation, set()).add(question.d)
    return [question._replace(choices=len(sizes[question.relation])) for question in questions]


def pairs(held: Sequence[Sequence[str]], words: Sequence[str], counts: np.ndarray, window: int) -> list[Pair]:
    """Neighbours in lines that were held out, each with a word drawn as negatives are: at most `PAIRS`, always the same.

    Parameters
    ----------
    held : sequence of sequences of str
    words : sequence of str
    counts : ndarray of integers, shape (len(words),)
        How often training has each word, not all 0; a word with 0 is in no pair.
    window : int
        How far apart neighbours may stand.
    """
    rng = np.random.default_rng(0)
    accept, alias = alias_tables(counts, 0.75)
    known = {word for word, count in zip(words, counts, strict=True) if count}
    drawn = []
    for sentence in held:
        sentence = [word for word in sentence if word in known]
        for i in range(len(sentence) - 1):
            j = min(len(sentence) - 1, i + 1 + int(rng.integers(window)))
            place = int(rng.integers(len(words)))
            other = place if rng.random() < accept[place] else int(alias[place])
            if sentence[i] != sentence[j] != words[other]:
                drawn.append(Pair(sentence[i], sentence[j], words[other]))
    chosen = rng.permutation(len(drawn))[:PAIRS]
    return [drawn[i] for i in sorted(chosen)]


def in_vocabulary(examples: Sequence, vocabulary: Collection[str]) -> list:
    """The pairs or questions all of whose words are in the vocabulary."""
    words = set(vocabulary)
    return [each for each in examples if words.issuperset(each[: 4 if isinstance(each, Question) else 3])]


def of_pairs(held: Sequence[Pair], ids: Mapping[str, int], model: Word2Vec) -> dict[str, float]:
    """The part of the pairs whose second word is more likely beside the first than the third one is."""
    word, near, other = np.array([[ids[word] for word in pair] for pair in held]).T  # (N,) each
    inputs, outputs = devices.to_host((model.input.value, model.output.value))  # (V, D) each
    difference = ((outputs[near] - outputs[other]) * inputs[word]).sum(axis=1)  # (N,)
    return {"accuracy": float((difference > 0).mean()), "examples": float(len(held))}


def of_questions(questions: Sequence[Question], vectors: WordVectors) -> dict[str, float]:
    """The part of the analogies whose nearest word is the right one: of all, and of each relation."""
    right: dict[str, list[bool]] = {}
    for question, answer in zip(questions, vectors.answers(questions), strict=True):
        right.setdefault(question.relation, []).append(answer == question.d)
    everything = np.concatenate(list(right.values()))
    return {"accuracy": float(everything.mean()), **{name: float(np.mean(each)) for name, each in right.items()}}


def chance(examples: Sequence) -> float:
    """The accuracy of a guess: of pairs one half, of a question one of the words that its relation has on that side."""
    if isinstance(examples[0], Pair):
        return 0.5
    return float(np.mean([1 / max(1, question.choices) for question in examples]))
