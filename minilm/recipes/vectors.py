"""The recipe `vectors`: word2vec, with analogies on a generated text, and on any text by path."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import models, tokenizers
from minilm.data.lines import lines
from minilm.layers.base import Layer
from minilm.models.word2vec_training import LONGEST, Place
from minilm.models.word_vectors import WordVectors
from minilm.recipes import relations, vector_quality
from minilm.recipes.base import Recipe
from minilm.recipes.cutting import word_pattern
from minilm.recipes.fit import Fitted, Row
from minilm.recipes.kept import Kept
from minilm.recipes.relations import Question
from minilm.recipes.vector_quality import Pair
from minilm.training.callbacks import Stop
from minilm.training.events import Callback
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Vectors"]

_PART = word_pattern(without="_")
WORD = re.compile(rf"{_PART}(?:['’-]{_PART})*")
HELD_OUT = 20  # each so-manieth line is for validation
LINES_SHOWN = 12
READ = 4_000_000  # words, about, that training reads: a short text many times, a long one five times


class Vectors(Recipe):
    """Vectors of words from the company they keep, by skip-gram or CBOW with negative sampling; nearest words and analogies.

    Built in is a generated text of countries, persons and things; the metric is the part of its analogies, such as
    paris - france + japan, whose nearest word is the right one. A guess is a word of the right kind.

    Real data: a text in UTF-8, a line a sentence; the longer the better. Then the metric is how often, for two words that
    stood near each other in held-out lines, the second is more likely than a word drawn at random (a guess: one half), unless
    questions=PATH names analogies in the form of questions-words.txt: lines of four words, and ": NAME" before a section.

    On a GPU (--device cuda) --set streams=256 trains so many sentences at a time: much faster, and not repeatable.

    A step is a pass over the text; without --steps or --minutes as many as make four million words, five to sixty.
    """

    name, summary, metric, prompt = "vectors", "word vectors: nearest words and analogies", "accuracy", "words"
    shared, why_alone = False, "each window's update starts from the one before"
    options = {
        "steps": 5,
        "lr": 0.025,
        "final": 0.004,
        "algorithm": "skip-gram",
        "size": 64,
        "window": 5,
        "negatives": 5,
        "subsample": 1e-3,
        "min_count": 2,
        "most_words": 100_000,
        "sentences": 40_000,
        "questions": "",
        "streams": 1,  # sentences that a GPU may train at a time; only 1 repeats bit for bit
    }
    choices = {"algorithm": models.word2vec.ALGORITHMS, "restarts": (1,)}
    idle = ("batch", "warmup", "beta2", "clip_norm", "weight_decay", "average", "micro_shards", "evaluate_every")
    idle += ("evaluate_examples", "optimizer", "precision")
    least = {"size": 1, "window": 1, "negatives": 1, "min_count": 1, "most_words": 2, "sentences": 1, "streams": 1}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._numbers: dict[str, int] = {}  # of all words of the data, before any is left out
        self._vectors: WordVectors | None = None

    def refuse_idle(self, device: str = "cpu") -> None:
        super().refuse_idle(device)
        if device == "cpu" and self.options["streams"] > 1:
            raise ValueError(f"streams is for a GPU (device='cuda'), got streams={self.options['streams']} on a CPU")

    # --- data ------------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        text = relations.sentences(seed, self.options["sentences"])
        return [self._numbered(sentence) for sentence in text], relations.questions()

    def read(self, path: PathLike) -> tuple[list, list]:
        train, held = [], []
        for line in lines(path):
            words = []
            with self.bad_rows:
                words = WORD.findall(line.text.lower())
            for start in range(0, len(words), LONGEST):
                sentence = words[start : start + LONGEST]
                if (len(train) + len(held)) % HELD_OUT == HELD_OUT - 1 and not self.options["questions"]:
                    held.append(sentence)
                else:
                    train.append(self._numbered(sentence))
        self.bad_rows.require(train, f"{os.fspath(path)}: there are no words in it; wanted text, a line a sentence")
        questions = self.options["questions"]
        return train, vector_quality.read_questions(questions, self.bad_rows) if questions else self._pairs(train, held)

    def _numbered(self, words: Sequence[str]) -> np.ndarray:
        numbers = self._numbers
        return np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int32)

    def _counts(self, train) -> np.ndarray:
        return np.bincount(np.concatenate(train), minlength=len(self._numbers))

    def _pairs(self, train, held) -> list[Pair]:
        counts, least = self._counts(train), self.options["min_count"]
        counts[counts < least] = 0
        if not counts.any():
            raise ValueError(f"no word occurs min_count={least} times: wanted more text, or a lower min_count")
        return vector_quality.pairs(held, list(self._numbers), counts, self.options["window"])

    # --- model -----------------------------------------------------------------------------------------------------------

    def adapt(self, train: Sequence) -> None:
        words = sum(map(len, train))
        self.suggest(steps=max(5, min(60, READ // max(1, words))))
        if self.options["algorithm"] == "cbow":
            self.suggest(lr=0.05)  # one step a word, where skip-gram takes one for each neighbour

    def prepare(self, train: Sequence) -> None:
        counts = self._counts(train)
        order = [int(i) for i in np.argsort(-counts, kind="stable")[: self.options["most_words"]]]
        order = [i for i in order if counts[i] >= self.options["min_count"]]
        if len(order) < 2:
            raise ValueError(f"{len(order)} words occur min_count={self.options['min_count']} times: wanted at least 2")
        words = list(self._numbers)
        vocabulary = [words[i] for i in order]
        self.vocabularies = {"words": tokenizers.WordLevel(vocabulary, split="spaces", unk_token=None, eos_token=None)}
        self.facts = {"words": int(sum(map(len, train)))}
        ids = np.full(len(words), -1, np.int64)
        ids[order] = np.arange(len(order))
        self._ids = ids

    def make_model(self, seed: int) -> Layer:
        names = ("size", "algorithm", "window", "negatives", "subsample")
        config = models.Word2VecConfig(self.vocabularies["words"].vocab_size, **{name: self.options[name] for name in names})
        return models.Word2Vec(config, seed=seed)

    def fit(
        self,
        train: Sequence,
        validation: Sequence,
        *,
        seed: int,
        progress: Any,
        kept: Kept | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> Any:
        """Train word after word; see `minilm.models.Word2Vec.train`."""
        if callbacks:
            raise ValueError(f"the recipe {self.name} trains in a loop of the kernel, which has no events for callbacks")
        options = self.options
        sentences = []
        for sentence in train:
            ids = self._ids[sentence]
            sentences.append(ids[ids >= 0])
        kept = kept or Kept(self)
        kept.restore()
        place, rows = Place(**kept.state.place), kept.state.rows
        begun = dataclasses.replace(place)

        def save():
            state, sums = kept.state, [tuple(map(float, each)) for each in place.sums]
            state.step, state.seconds, state.place = place.epoch, place.seconds, {**vars(place), "sums": sums}
            kept.save()

        with Stop() as stop:

            def report(state):
                rows.append(Row(state.words, state.seconds, state.lr, state.loss, None))
                now = state.seconds - begun.seconds
                if progress.due(now):
                    progress.update(now, state.done, len(rows), state.loss, state.words - begun.words)
                if kept.due:
                    save()
                return stop.signal is not None

            losses = self.model.train(
                sentences,
                epochs=options["steps"] if options["minutes"] is None else 2**30,
                minutes=options["minutes"],
                lr=options["lr"],
                lr_end=options["final"] * options["lr"],
                seed=seed,
                streams=options["streams"],
                progress=report,
                place=place,
            )
        self._vectors = None
        save()
        return Fitted(len(losses), place.seconds, rows, stop.signal)

    @property
    def vectors(self) -> WordVectors:
        """The words and their vectors."""
        if self._vectors is None:
            vocabulary = self.vocabularies["words"]
            words = [vocabulary.decode([i]) for i in range(vocabulary.vocab_size)]
            self._vectors = WordVectors(words, self.model.input.value)
        return self._vectors

    # --- measuring -------------------------------------------------------------------------------------------------------

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        known = self._in_vocabulary(validation)
        if len(known) == len(validation):
            return []
        return [f"{len(validation) - len(known):,} of {len(validation):,} examples have a word that is not in the vocabulary"]

    def _in_vocabulary(self, examples) -> list:
        return vector_quality.in_vocabulary(examples, self.vocabularies["words"].vocabulary)

    def _known(self, examples) -> list:
        known = self._in_vocabulary(examples)
        if not known:
            raise ValueError("no validation example has all its words in the vocabulary: a lower min_count, or more text")
        return known

    def measurable(self, train: Sequence) -> list:
        return []  # they are sentences, and what is measured are questions

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        known = self._known(examples)
        if isinstance(known[0], Pair):
            return vector_quality.of_pairs(known, self.vectors.ids, self.model)
        return vector_quality.of_questions(known, self.vectors)

    def chance(self, examples: Sequence) -> float:
        return vector_quality.chance(self._known(examples))

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        known = self._known(examples)
        if isinstance(known[0], Pair):
            frequent = [word for word in self.vectors.words[20:] if len(word) > 3][:LINES_SHOWN]
            return [(word, "(words that keep the same company)", self.answer(word)) for word in frequent]
        some = [known[i] for i in np.linspace(0, len(known) - 1, LINES_SHOWN).astype(int)]
        answers = self.vectors.answers(some)
        return [(f"{q.b} - {q.a} + {q.c}", q.d, answer) for q, answer in zip(some, answers, strict=True)]

    def answer(self, text: str) -> str:
        return ", ".join(f"{word} {cosine:.2f}" for word, cosine in self.vectors.calculate(text.lower(), most=8))

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_words

        return explain_words(self.vectors, text.lower(), answer=answer, foil=foil)

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        """vectors.txt in word2vec's text format, which other programs read; relations.png where there are relations."""
        from minilm.recipes import plots

        path = os.path.join(folder, "vectors.txt")
        self.vectors.save_text(path)
        known = [each for each in self._known(examples) if isinstance(each, Question)]
        groups = {}
        for question in known:
            pairs = groups.setdefault(question.relation, [])
            if (question.b, question.a) not in pairs and (question.a, question.b) not in pairs and len(pairs) < 10:
                pairs.append((question.a, question.b))
        if not groups:
            return [path]
        picture = os.path.join(folder, "relations.png")
        plots.relations(picture, self.vectors, groups)
        return [path, picture]
