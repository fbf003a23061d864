"""The recipe `tag`: which words of a sentence belong together, and what they are in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, models
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy
from minilm.metrics.entities import entity_scores, followers, spans
from minilm.mistaken import did_you_mean
from minilm.models.tagger import Spelling
from minilm.recipes import conll, cutting, labelled, roles
from minilm.recipes.conll import Featured, Sentence
from minilm.recipes.padding import near_lengths, side_by_side
from minilm.recipes.pretrained_words import VECTORS, WordRecipe, key_of
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Tag", "bracketed"]

TRAIN, VALIDATION = 3000, 400  # sentences made
SOME, MANY = 1000, 8000  # real sentences, from which on there is more to learn
LONGEST = 30  # characters of a word that are read

OPTIONS: dict[str, Any] = {  # of all recipes that tag words
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
    **VECTORS,
}


class Tag(WordRecipe):
    """Entities or roles in sentences: a tag for each word.

    Built-in data: sentences made by a grammar, with the roles of their phrases: who does what to whom, with what, where and when.

    Real data: tagged sentences in the form of CoNLL, in UTF-8: one word a line with its tag in the last column, columns parted by
    blanks or tabs, an empty line between sentences; a file, of which every tenth sentence is for validation, or a folder with
    train and dev (or valid, test) and the ending .txt, .conll, .conllu, .bio, .iob, .iob2, .tsv, or none, also with .gz. Tags are
    O, and B- and I- with a type or without one; E, S, L, U, M and W are understood too. Where the first column numbers the words,
    they are in the second; word_column and tag_column name other columns. feature_column names one that the model is to read
    beside the words, such as their parts of speech; a sentence to try then has them too: Ada/NNP Lovelace/NNP wrote/VBD.

        Ada     B-PER
        Lovelace  I-PER
        wrote   O

    The model: embeddings of words and of their characters, both directions of an LSTM or GRU, a conditional random field.
    vectors=FILE lets the words start from vectors in the form of word2vec, GloVe or fastText, text or binary.
    """

    name, summary, metric, prompt = "tag", "roles or entities in a sentence: a tag for each word", "f1", "sentence"
    options = {**OPTIONS, "feature_column": None, "feature_size": 24}  # of real data, another column that the model reads
    choices = {"cell": ("lstm", "gru")}
    needs = {"feature_size": ("feature_column", None), "character_size": ("characters", (True,))}
    least = {"min_count": 1, "feature_size": 1}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rows: dict[str, int] | None = None  # words in lower case -> ids
        self._letters: dict[str, int] | None = None

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        sentences = [self._example(*each) for each in roles.sentences(seed, TRAIN + VALIDATION)]
        return sentences[:TRAIN], sentences[TRAIN:]

    def _example(self, words: tuple[str, ...], tags: tuple[str, ...]) -> Any:
        """An example of the built-in data, from a sentence and its words' tags, which are their roles."""
        return Sentence(words, tags)

    def read(self, path: PathLike) -> tuple[list, list]:
        columns = [self.options[name] for name in ("word_column", "tag_column")]
        train, validation = conll.read(path, *columns, self.bad_rows, feature_column=self.options["feature_column"])
        if len(train) >= SOME:
            self.suggest(hidden_size=100, embedding_size=100, steps=2000, dropout=0.5, word_dropout=0.3, average=0.998)
        return train, validation

    def adapt(self, train: Sequence) -> None:
        if len(train) >= MANY:
            self.suggest(hidden_size=128, embedding_size=100, steps=3000, dropout=0.5, word_dropout=0.1, average=0.998)

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        tags = ((tag for e in part for tag in e.tags) for part in (train, validation))
        return super().remarks(train, validation) + labelled.unlearnable("tag", *tags)

    def words_of(self, example: Any) -> Sequence[str]:
        return example.words

    def prepare(self, train: Sequence) -> None:
        counts = Counter(key_of(word) for sentence in train for word in sentence.words)
        self.vocabularies = {"words": self.word_level(counts)}
        tags = sorted({tag for sentence in train for tag in sentence.tags}, key=lambda tag: (tag != "O", tag[2:], tag))
        characters = sorted({letter for sentence in train for word in sentence.words for letter in word})
        seen = {(before, tag) for sentence in train for before, tag in zip(("", *sentence.tags), sentence.tags, strict=False)}
        self.facts = {"tags": tags, "characters": characters, "seen": sorted(map(list, seen)), **self.vector_facts()}
        if isinstance(train[0], Featured):
            self.facts["features"] = sorted({feature for sentence in train for feature in sentence.features})

    # --- model -------------------------------------------------------------------------------------------------------

    def make_model(self, seed: int) -> Layer:
        V, words = self.word_sizes()
        return self.started(models.Tagger(V, len(self.facts["tags"]), seed=seed, **words, **self._model_options()), seed)

    def _model_options(self) -> dict[str, Any]:
        """What the settings say of the model."""
        names = ("cell", "embedding_size", "hidden_size", "num_layers", "character_size", "dropout", "word_dropout")
        characters = len(self.facts["characters"]) + 1 if self.options["characters"] else None  # 0 is one that is unknown
        options = {**{name: self.options[name] for name in names}, "characters": characters}
        if "features" in self.facts:
            options |= {"marks": len(self.facts["features"]) + 1, "mark_size": self.options["feature_size"]}  # 0: unknown
        return options

    def _inputs(self, examples: Sequence) -> tuple:
        """What the model reads of examples: ids (B, T), lengths (B,), spelling; a recipe of its own may add more."""
        sentences = [example.words for example in examples]
        rows, unknown = self._known(), self.vocabularies["words"].unk_token_id
        ids, lengths = side_by_side([[rows.get(key_of(word), unknown) for word in words] for words in sentences])  # (B, T)
        spelling = self._spelling(sentences, ids.shape) if self.options["characters"] else None
        return ids, lengths, spelling, *([self._marks(examples, ids.shape)] if "features" in self.facts else [])

    def _marks(self, examples: Sequence, shape) -> np.ndarray:
        """The features of the words as numbers, (B, T)."""
        numbers = {feature: number for number, feature in enumerate(self.facts["features"], 1)}
        marks = np.zeros(shape, np.int64)  # (B, T)
        for row, example in zip(marks, examples, strict=True):
            row[: len(example.features)] = [numbers.get(feature, 0) for feature in example.features]
        return marks

    def _known(self) -> dict[str, int]:
        """The words that the model knows by themselves, in lower case, with their ids."""
        if self._rows is None:
            self._rows = {word: row for row, word in enumerate(self.vocabularies["words"].vocabulary)}
        return self._rows

    def _spelling(self, sentences, shape) -> Spelling:
        if self._letters is None:
            self._letters = {letter: number for number, letter in enumerate(self.facts["characters"], 1)}
        different: dict[str, int] = {}
        places = np.zeros(shape, np.int64)  # (B, T)
        for row, words in zip(places, sentences, strict=True):
            row[: len(words)] = [different.setdefault(word, len(different)) for word in words]
        ids, lengths = side_by_side([[self._letters.get(letter, 0) for letter in word[:LONGEST]] for word in different])  # (U, W)
        return Spelling(ids, lengths, places)

    def batch(self, examples: Sequence) -> tuple:
        ids, *more = self._inputs(examples)
        numbers = {tag: number for number, tag in enumerate(self.facts["tags"])}
        tags = np.full(ids.shape, -100)  # (B, T)
        for row, example in zip(tags, examples, strict=True):
            row[: len(example.tags)] = [numbers[tag] for tag in example.tags]
        return ids, tags, *more

    def length(self, example: Any) -> int:
        return len(example.words)

    # --- results -----------------------------------------------------------------------------------------------------

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags that the model gives to sentences, each a sequence of words."""
        if "features" in self.facts:
            raise ValueError("this model reads a feature of each word besides (feature_column); answer() takes them")
        return self._tags([Sentence(tuple(words), ()) for words in sentences])

    def _tags(self, examples: Sequence) -> list[list[str]]:
        names, allowed = self.facts["tags"], self._allowed()
        tags: list[list[str]] = [[] for _ in examples]
        for some, inputs in self._parts(examples):
            best = devices.to_host(self.model.decode(*self.on_device(inputs), allowed=allowed))  # (B, T)
            for i, row, length in zip(some, best, inputs[1], strict=True):
                tags[i] = [names[tag] for tag in row[:length]]
        return tags

    def _parts(self, examples: Sequence) -> Iterator[tuple[list[int], tuple]]:
        """Places of examples of near length, and what the model reads of them."""
        for some in near_lengths(len(example.words) for example in examples):
            yield some, self._inputs([examples[i] for i in some])

    def _allowed(self):
        """Which tag may follow which; see `minilm.layers.CRF.decode`."""
        return followers(self.facts["tags"], map(tuple, self.facts["seen"]))

    def score(self, predictions: Sequence[Sequence[str]], examples: Sequence) -> dict[str, float]:
        """The metrics of tags that were given to the examples."""
        expected = [example.tags for example in examples]
        scores = entity_scores(expected, predictions)
        every = accuracy([tag for tags in expected for tag in tags], [tag for tags in predictions for tag in tags])
        by_type = {f"f1_{kind}": score.f1 for kind, score in scores.items() if kind}
        return {"f1": scores[""].f1, "precision": scores[""].precision, "recall": scores[""].recall, "accuracy": every, **by_type}

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        return self.score(self._tags(examples), examples)

    def chance(self, examples: Sequence) -> float:
        """The metric of giving each word the tag that it has most often, whatever stands around it: in these very sentences."""
        counts: dict[str, Counter] = defaultdict(Counter)
        for example in examples:
            for word, tag in zip(example.words, example.tags, strict=True):
                counts[key_of(word)][tag] += 1
        best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
        return self.score([[best[key_of(word)] for word in example.words] for example in examples], examples)[self.metric]

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:6]
        return [
            (" ".join(example.words), self.shown(example.words, example.tags), self.shown(example.words, tags))
            for example, tags in zip(some, self._tags(some), strict=True)
        ]

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_tags

        example, names = self._example_of(text), self.facts["tags"]
        words, (more, foil) = example.words, self._of_whole(foil)
        tags = self._tags([example])[0] if answer is None else answer.split()
        for tag in (*tags, *([] if foil is None else [foil])):
            if tag not in names:
                raise ValueError(f"there is no tag {tag!r}; {did_you_mean(tag, names)}")
        if len(tags) != len(words):
            raise ValueError(f"the answer must be a tag for each of the {len(words)} words, got {len(tags)}")
        best = np.array([names.index(tag) for tag in tags])
        more |= {"answer": self.shown(words, tags), "foil": None if foil is None else names.index(foil)}
        return explain_tags(self.model, self._inputs([example]), words, names, best=best, text=text, **more)

    def _example_of(self, text: str) -> Any:
        """What the model is to read of a text; ValueError for one without a word."""
        if "features" in self.facts:
            return _featured(text)
        words = cutting.words(text)
        if not words:
            raise ValueError("wanted a sentence, got a text without a word")
        return Sentence(tuple(words), ())

    def _of_whole(self, foil: str | None) -> tuple[dict[str, Any], str | None]:
        """What `explain_tags` is to know beside the tags, and the foil if it is a tag's."""
        return {}, foil

    def shown(self, words: Sequence[str], tags: Sequence[str]) -> str:
        """A sentence with its tags."""
        return bracketed(words, tags)

    def answer(self, text: str) -> str:
        if not text.strip():
            return ""
        example = self._example_of(text)
        return self.shown(example.words, self._tags([example])[0])


def _featured(text: str) -> Featured:
    """A sentence of words with their features, as in "Ada/NNP wrote/VBD"; ValueError for one of another form."""
    parts = [each.rpartition("/") for each in text.split()]
    if not parts or not all(map(all, parts)):
        raise ValueError(f"wanted each word with its feature, as in 'Ada/NNP wrote/VBD', got {text.strip()[:60]!r}")
    return Featured(tuple(word for word, _, _ in parts), (), tuple(feature for _, _, feature in parts))


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
