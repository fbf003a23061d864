"""The recipe `tag`: which words of a sentence belong together, and what they are in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, models, tokenizers
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy
from minilm.metrics.entities import entity_scores, followers, spans
from minilm.mistaken import did_you_mean
from minilm.models.tagger import Spelling
from minilm.recipes import conll, cutting, labelled, roles
from minilm.recipes.base import Recipe
from minilm.recipes.conll import Sentence
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Tag"]

TRAIN, VALIDATION = 3000, 400  # sentences made
LONGEST = 30  # characters of a word that are read


class Tag(Recipe):
    """Entities or roles in sentences: a tag for each word.

    Built-in data: sentences made by a grammar, with the roles of their phrases: who does what to whom, with what, where and when.

    Real data: tagged sentences in the form of CoNLL, in UTF-8: one word a line with its tag in the last column, columns parted by
    blanks or tabs, an empty line between sentences; a file, of which every tenth sentence is for validation, or a folder with
    train and dev (or valid, test) and the ending .txt, .conll, .conllu, .bio, .iob, .iob2, .tsv, or none, also with .gz. Tags are
    O, and B- and I- with a type or without one; E, S, L, U, M and W are understood too. Where the first column numbers the words,
    they are in the second; word_column and tag_column name other columns.

        Ada     B-PER
        Lovelace  I-PER
        wrote   O

    The model: embeddings of words and of their characters, both directions of an LSTM or GRU, a conditional random field.
    """

    name, summary, metric, prompt = "tag", "roles or entities in a sentence: a tag for each word", "f1", "sentence"
    options = {
        "cell": "lstm",
        "embedding_size": 64,
        "hidden_size": 64,  # of one direction
        "num_layers": 1,
        "characters": True,
        "character_size": 24,
        "dropout": 0.3,
        "word_dropout": 0.1,
        "min_count": 2,  # words that occur less often are known by their characters alone
        "lr": 4e-3,
        "steps": 500,
        "batch": 32,
        "word_column": None,  # of real data, from 1: the first, or the second where the first numbers the words
        "tag_column": None,  # the last
    }
    choices = {"cell": ("lstm", "gru")}
    least = {"min_count": 1}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rows: dict[str, int] | None = None  # words in lower case -> ids
        self._letters: dict[str, int] | None = None

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        sentences = [Sentence(*each) for each in roles.sentences(seed, TRAIN + VALIDATION)]
        return sentences[:TRAIN], sentences[TRAIN:]

    def read(self, path: PathLike) -> tuple[list, list]:
        return conll.read(path, self.options["word_column"], self.options["tag_column"], self.bad_rows)

    def adapt(self, train: Sequence) -> None:
        if len(train) >= 8000:
            self.suggest(hidden_size=128, embedding_size=100, steps=3000, dropout=0.5, average=0.998)

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        return labelled.unlearnable("tag", *((tag for e in part for tag in e.tags) for part in (train, validation)))

    def prepare(self, train: Sequence) -> None:
        counts = Counter(_key(word) for sentence in train for word in sentence.words)
        least = self.options["min_count"]
        known = sorted(
            (word for word, count in counts.items() if count >= least and word != "<unk>"), key=lambda w: (-counts[w], w)
        )
        options = {"split": "spaces", "lower": True, "eos_token": None}
        self.vocabularies = {"words": tokenizers.WordLevel(known or ["a"], **options)}
        tags = sorted({tag for sentence in train for tag in sentence.tags}, key=lambda tag: (tag != "O", tag[2:], tag))
        characters = sorted({letter for sentence in train for word in sentence.words for letter in word})
        seen = {(before, tag) for sentence in train for before, tag in zip(("", *sentence.tags), sentence.tags, strict=False)}
        self.facts = {"tags": tags, "characters": characters, "seen": sorted(map(list, seen))}

    # --- model -------------------------------------------------------------------------------------------------------

    def make_model(self, seed: int) -> Layer:
        options, words = self.options, self.vocabularies["words"]
        characters = len(self.facts["characters"]) + 1 if options["characters"] else None  # 0 is one that is unknown
        names = ("cell", "embedding_size", "hidden_size", "num_layers", "character_size", "dropout", "word_dropout")
        more = {name: options[name] for name in names}
        return models.Tagger(
            words.vocab_size, len(self.facts["tags"]), characters=characters, unk_id=words.unk_token_id, seed=seed, **more
        )

    def _inputs(self, sentences: Sequence[Sequence[str]]):
        """ids (B, T), lengths (B,), spelling."""
        if self._rows is None:
            self._rows = {word: row for row, word in enumerate(self.vocabularies["words"].vocabulary)}
            self._letters = {letter: number for number, letter in enumerate(self.facts["characters"], 1)}
        unknown = self.vocabularies["words"].unk_token_id
        lengths = np.array([len(words) for words in sentences])
        ids = np.zeros((len(sentences), lengths.max()), np.int64)  # (B, T)
        for row, words in zip(ids, sentences, strict=True):
            row[: len(words)] = [self._rows.get(_key(word), unknown) for word in words]
        return ids, lengths, self._spelling(sentences, ids.shape) if self.options["characters"] else None

    def _spelling(self, sentences, shape) -> Spelling:
        different: dict[str, int] = {}
        places = np.zeros(shape, np.int64)  # (B, T)
        for row, words in zip(places, sentences, strict=True):
            row[: len(words)] = [different.setdefault(word, len(different)) for word in words]
        spelled = [[self._letters.get(letter, 0) for letter in word[:LONGEST]] for word in different]
        lengths = np.array([len(letters) for letters in spelled])
        ids = np.zeros((len(spelled), lengths.max()), np.int64)  # (U, W)
        for row, letters in zip(ids, spelled, strict=True):
            row[: len(letters)] = letters
        return Spelling(ids, lengths, places)

    def batch(self, examples: Sequence) -> tuple:
        ids, lengths, spelling = self._inputs([example.words for example in examples])
        numbers = {tag: number for number, tag in enumerate(self.facts["tags"])}
        tags = np.full(ids.shape, -100)  # (B, T)
        for row, example in zip(tags, examples, strict=True):
            row[: len(example.tags)] = [numbers[tag] for tag in example.tags]
        return ids, tags, lengths, spelling

    def length(self, example: Any) -> int:
        return len(example.words)

    # --- results -----------------------------------------------------------------------------------------------------

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags that the model gives to sentences, each a sequence of words."""
        names, allowed = self.facts["tags"], followers(self.facts["tags"], map(tuple, self.facts["seen"]))
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        tags: list[list[str]] = [[] for _ in sentences]
        for start in range(0, len(order), 64):
            some = order[start : start + 64]
            inputs = self._inputs([sentences[i] for i in some])
            best = devices.to_host(self.model.decode(*self.on_device(inputs), allowed=allowed))  # (B, T)
            for i, row, length in zip(some, best, inputs[1], strict=True):
                tags[i] = [names[tag] for tag in row[:length]]
        return tags

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        expected, predictions = [example.tags for example in examples], self.tags([example.words for example in examples])
        scores = entity_scores(expected, predictions)
        every = accuracy([tag for tags in expected for tag in tags], [tag for tags in predictions for tag in tags])
        by_type = {f"f1_{kind}": score.f1 for kind, score in scores.items() if kind}
        return {"f1": scores[""].f1, "precision": scores[""].precision, "recall": scores[""].recall, "accuracy": every, **by_type}

    def chance(self, examples: Sequence) -> float:
        """F1 of giving each word the tag that it has most often, whatever stands around it: in these very sentences."""
        counts: dict[str, Counter] = defaultdict(Counter)
        for example in examples:
            for word, tag in zip(example.words, example.tags, strict=True):
                counts[_key(word)][tag] += 1
        best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
        predictions = [[best[_key(word)] for word in example.words] for example in examples]
        return entity_scores([example.tags for example in examples], predictions)[""].f1

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        predictions = self.tags([example.words for example in examples[:6]])
        return [
            (" ".join(e.words), bracketed(e.words, e.tags), bracketed(e.words, tags))
            for e, tags in zip(examples[:6], predictions, strict=True)
        ]

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_tags

        words, names = cutting.words(text), self.facts["tags"]
        if not words:
            raise ValueError("wanted a sentence, got a text without a word")
        tags = self.tags([words])[0] if answer is None else answer.split()
        for tag in (*tags, *([] if foil is None else [foil])):
            if tag not in names:
                raise ValueError(f"there is no tag {tag!r}; {did_you_mean(tag, names)}")
        if len(tags) != len(words):
            raise ValueError(f"the answer must be a tag for each of the {len(words)} words, got {len(tags)}")
        ids, _, spelling = self._inputs([words])
        best = np.array([names.index(tag) for tag in tags])
        shown, other = bracketed(words, tags), None if foil is None else names.index(foil)
        return explain_tags(self.model, ids[0], spelling, words, names, best=best, text=text, answer=shown, foil=other)

    def answer(self, text: str) -> str:
        words = cutting.words(text)
        return bracketed(words, self.tags([words])[0]) if words else ""


def _key(word: str) -> str:
    """A word as the vocabulary has it: in lower case, without white space."""
    return "_".join(word.lower().split()) or "_"


def bracketed(words: Sequence[str], tags: Sequence[str]) -> str:
    """A sentence with its entities in brackets.

    >>> bracketed(["Ada", "Lovelace", "wrote"], ["B-PER", "I-PER", "O"])
    '[PER Ada Lovelace] wrote'
    """
    before, after = Counter(), Counter()
    kinds = {}
    for span in spans(tags):
        before[span.start], after[span.stop - 1], kinds[span.start] = 1, 1, span.kind
    return " ".join(
        f"{f'[{kinds[place]} ' if before[place] else ''}{word}{']' if after[place] else ''}" for place, word in enumerate(words)
    )
