"""The recipe `extract`: the sentence of a text that says the most of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices, models
from minilm.data import pairs
from minilm.layers.base import Layer
from minilm.metrics.rouge import rouge, rouge_l
from minilm.recipes import abstracts, cutting, reports
from minilm.recipes.padding import near_lengths, side_by_side
from minilm.recipes.pretrained_words import VECTORS, WordRecipe, key_of
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Extract", "Passage"]

PASSES = 4  # over real texts, where nobody says how long to train
NEAR = 6  # sentences from either end of a text, each of which has a word of its own for its place
CHUNK = 64  # sentences that are scored side by side


class Passage(NamedTuple):
    """The sentences of a text, and what people say of it in short."""

    sentences: tuple[str, ...]
    summaries: tuple[str, ...]

    @classmethod
    def of(cls, source: Sequence[str], target: Sequence[str]) -> Passage:
        """From sentences, or a text that is still to be cut into them, and summaries."""
        cut = source if len(source) > 1 else cutting.sentences(source[0]) or source
        return cls(tuple(cut), tuple(target))


class Extract(WordRecipe):
    """The sentence of a text that says the most of it: a summary that is taken, not written.

    Built-in data: the reports of the recipe summarise, with their headlines.

    Real data: as for the recipe summarise: a file with a line an example, text<TAB>summary, or abstracts and summaries as JSON
    lines in the form of SciTLDR, whose lists are sentences; other texts are cut into theirs.

    The model: each sentence is read by itself, behind two words that say how far it is from the text's beginning and its end, by
    both directions of an LSTM with attention; vectors=FILE lets the words start from vectors of word2vec, GloVe or fastText. It
    learns which sentence of a text has the highest ROUGE-L with a summary; of a new text the likeliest is taken. The metric is
    ROUGE-L (F, with ROUGE-1 and ROUGE-2 beside it); a guess takes the first sentence.
    """

    name, summary, metric, prompt = "extract", "the sentence of a text that says the most of it", "rouge_l", "text"
    options = {
        "cell": "lstm",
        "embedding_size": 64,
        "hidden_size": 64,  # of one direction
        "num_layers": 1,
        "dropout": 0.3,
        "word_dropout": 0.3,
        "min_count": 1,  # words that occur less often are unknown
        "max_length": 100,  # words of a sentence; what stands beyond is not read
        "examples": 4000,  # of the built-in data
        "batch": 8,  # texts
        "lr": 2e-3,
        "steps": 400,
        **VECTORS,
    }
    choices = {"cell": ("lstm", "gru")}
    least = {"min_count": 1, "max_length": 3, "examples": 2}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._cut: dict[Passage, list[np.ndarray]] = {}
        self._best: dict[Passage, int] = {}

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        return self._passages(pairs.hold_out(reports.generate(self.options["examples"], seed), seed=seed))

    def read(self, path: PathLike) -> tuple[list, list]:
        if os.path.isdir(path) or os.fspath(path).removesuffix(".gz").endswith(abstracts.ENDINGS):
            parts = abstracts.read(path, self.bad_rows, Passage)
        else:
            parts = self._passages(pairs.hold_out(pairs.read_file(path, "text<TAB>summary", "\t", bad_rows=self.bad_rows)))
        self.suggest(steps=max(100, PASSES * len(parts[0]) // self.options["batch"]), average=0.99)
        return parts

    def _passages(self, parts: Sequence[Sequence[pairs.Pair]]) -> tuple[list, list]:
        train, validation = ([Passage.of([pair.source], [pair.target]) for pair in part] for part in parts)
        return train, validation

    def prepare(self, train: Sequence) -> None:
        self._cut, self.facts = {}, {}
        counts = Counter(key_of(word) for passage in train for word in self.words_of(passage))
        self.vocabularies = {"words": self.word_level(counts)}
        self.facts = self.vector_facts()

    def words_of(self, example: Any) -> Iterator[str]:
        return (word for words in _words(example) for word in words)

    # --- model -------------------------------------------------------------------------------------------------------

    def make_model(self, seed: int) -> Layer:
        names = ("cell", "embedding_size", "hidden_size", "num_layers", "dropout", "word_dropout")
        options = {name: self.options[name] for name in names}
        V, words = self.word_sizes()
        return self.started(models.RecurrentClassifier(V, 2, seed=seed, **words, **options), seed)

    def _ids(self, passage: Passage) -> list[np.ndarray]:
        """The ids (T,) of each sentence, behind its place."""
        if passage not in self._cut:
            encode, most = self.vocabularies["words"].encode, self.options["max_length"]
            self._cut[passage] = [encode(" ".join(words))[:most] for words in _words(passage)]
        return self._cut[passage]

    def batch(self, examples: Sequence) -> tuple:
        ids, lengths = side_by_side([ids for passage in examples for ids in self._ids(passage)])
        labels = [place == self.best(passage) for passage in examples for place in range(len(passage.sentences))]
        return ids, np.array(labels, np.int64), lengths

    def best(self, passage: Passage) -> int:
        """Which sentence comes nearest to a summary."""
        if passage not in self._best:
            nearest = [max(rouge_l(each, summary).f1 for summary in passage.summaries) for each in passage.sentences]
            self._best[passage] = int(np.argmax(nearest))
        return self._best[passage]

    def length(self, example: Any) -> int:
        return max(ids.size for ids in self._ids(example))

    # --- results -----------------------------------------------------------------------------------------------------

    def probabilities(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """For each text, (S,): how likely each of its sentences is to be the one; each is judged by itself."""
        sentences = [ids for passage in passages for ids in self._ids(passage)]
        p = np.empty(len(sentences))
        for some in near_lengths(map(len, sentences), CHUNK):
            inputs = self.on_device(side_by_side([sentences[i] for i in some]))
            p[some] = devices.to_host(self.model.probabilities(*inputs))[:, 1]
        return np.split(p, np.cumsum([len(passage.sentences) for passage in passages])[:-1])

    def take(self, passages: Sequence[Passage]) -> list[str]:
        """The likeliest sentence of each text."""
        return [each.sentences[p.argmax()] for each, p in zip(passages, self.probabilities(passages), strict=True)]

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        return rouge(self.take(examples), [passage.summaries for passage in examples])

    def chance(self, examples: Sequence) -> float:
        """What the first sentences reach."""
        return rouge([passage.sentences[0] for passage in examples], [passage.summaries for passage in examples])[self.metric]

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:6]
        return [(" ".join(each.sentences), each.summaries[0], chosen) for each, chosen in zip(some, self.take(some), strict=True)]

    def answer(self, text: str) -> str:
        return self.take([_passage(text)])[0]

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_label

        if foil is not None:
            raise ValueError("the recipe extract judges each sentence by itself: there is no foil, and answer names another one")
        passage = _passage(text)
        sentence = self.answer(text) if answer is None else answer
        if sentence not in passage.sentences:
            raise ValueError(f"the answer must be a sentence of the text, such as {passage.sentences[0]!r}, got {sentence!r}")
        place = passage.sentences.index(sentence)
        ids = self._ids(passage)[place]
        return explain_label(self.model, ids, _words(passage)[place][: len(ids)], ["left", "taken"], text=text, answer=1)


def _passage(text: str) -> Passage:
    """A text that somebody typed."""
    return Passage.of([" ".join(text.split())], ())


def _words(passage: Passage) -> list[list[str]]:
    """The words of each sentence, behind two that say where it stands."""
    last = len(passage.sentences) - 1
    places = [(f"first+{min(i, NEAR)}", f"last-{min(last - i, NEAR)}") for i in range(last + 1)]
    return [[*place, *cutting.words(sentence)] for place, sentence in zip(places, passage.sentences, strict=True)]
