"""The recipe `sentiment`: is a review for or against? And any other labels of texts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, models, tokenizers
from minilm.hub import model_folder
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy, commonest
from minilm.mistaken import did_you_mean
from minilm.models.pretrained import config_from
from minilm.recipes import cutting, labelled, reviews
from minilm.recipes.labelled import Labelled
from minilm.recipes.padding import near_lengths, side_by_side
from minilm.recipes.pretrained_words import VECTORS, WordRecipe, key_of
from minilm.typing import PathLike
from minilm.weights import read_config

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Sentiment"]

TRAIN, VALIDATION = 4000, 500  # reviews made
LARGE = 20_000  # examples, from which on real data want more training


class Sentiment(WordRecipe):
    """A label for each text: what a review says of a film.

    Built-in data: reviews made by a grammar, with denials and concessions ("not dull at all", "lovely music, but I was bored").

    Real data: a file of labelled texts, of which every tenth is for validation, or a folder with train.tsv and dev.tsv; in
    the form of SST-2 of GLUE, in UTF-8 and with a header line:

        sentence<TAB>label
        a charming journey<TAB>1

    Labels may be of any number and spelling.

    Models: "lstm" and "gru" (both directions, attention), "words" (mean of words and n-grams), whose words may start from
    vectors=FILE in the form of word2vec, GloVe or fastText, text or binary; and "bert", which wants encoder=FOLDER of a BERT in
    Hugging Face's layout; freeze=true then trains no more than the map to the labels.
    """

    name, summary, metric, prompt = "sentiment", "is a review for or against: a label for each text", "accuracy", "review"
    options = {
        "model": "lstm",
        "embedding_size": 64,
        "hidden_size": 64,  # of one direction; of the hidden layer for "words", where 0 is none
        "num_layers": 1,
        "ngrams": 2,
        "buckets": 2**16,
        "dropout": 0.3,
        "word_dropout": 0.1,
        "label_smoothing": 0.0,
        "min_count": 1,  # words that occur less often are unknown
        "max_length": 256,  # words or tokens; what stands beyond is not read
        "encoder": None,  # the folder of a pretrained BERT
        "pooling": "mean",
        "freeze": False,
        "lr": 2e-3,
        "steps": 600,
        **VECTORS,
    }
    choices = {"model": ("words", "lstm", "gru", "bert"), "pooling": ("mean", "cls")}
    least = {"min_count": 1, "max_length": 2}
    needs = {
        **dict.fromkeys(("ngrams", "buckets"), ("model", ("words",))),
        **dict.fromkeys(("embedding_size", "hidden_size", "word_dropout", "min_count"), ("model", ("words", "lstm", "gru"))),
        "num_layers": ("model", ("lstm", "gru")),
        "pooling": ("model", ("bert",)),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.options["model"] == "bert" and not isinstance(self.options["encoder"], str):
            raise ValueError(
                "model='bert' needs encoder=FOLDER, with config.json, model.safetensors and vocab.txt or tokenizer.json"
            )
        if self.options["model"] != "bert" and (self.options["encoder"] is not None or self.options["freeze"]):
            raise ValueError(f"encoder and freeze are for model='bert', got model={self.options['model']!r}")
        if self.options["model"] == "bert" and self.options["vectors"] is not None:
            raise ValueError("vectors are of words, and model='bert' has its encoder's pieces of words: leave them out")
        if self.options["model"] == "words" and self.options["freeze_vectors"] and self.options["ngrams"] > 1:
            raise ValueError("freeze_vectors with model='words' needs ngrams=1: the n-grams have no vectors to stay")
        self._fresh_encoder = False  # whether the encoder's weights are still to be read
        self._cut: dict[str, np.ndarray] = {}

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        examples = [Labelled(*each) for each in reviews.reviews(seed, TRAIN + VALIDATION)]
        return examples[:TRAIN], examples[TRAIN:]

    def read(self, path: PathLike) -> tuple[list, list]:
        return labelled.read(path, bad_rows=self.bad_rows, least=2 if self.model is None else 1)

    def adapt(self, train: Sequence) -> None:
        if self.options["model"] == "bert":
            self.suggest(lr=1e-3 if self.options["freeze"] else 1e-4, steps=800, max_length=128)
        elif len(train) >= LARGE:
            self.suggest(**LARGER[self.options["model"]])
            if self.options["vectors"] is not None and self.options["model"] != "words":
                self.suggest(**WITH_VECTORS)

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        labels = ((example.label for example in part) for part in (train, validation))
        return super().remarks(train, validation) + labelled.unlearnable("label", *labels)

    def prepare(self, train: Sequence) -> None:
        self._cut, self.facts = {}, {"labels": sorted({example.label for example in train})}
        if self.options["model"] == "bert":
            folder = model_folder(self.options["encoder"])
            self.vocabularies = {"words": tokenizers.WordPiece.load(folder)}
            self.facts["encoder"] = config_from(read_config(folder, ["bert"])).to_dict()
            self._fresh_encoder = True
            return
        counts = Counter(key_of(word) for example in train for word in self.words_of(example))
        self.vocabularies = {"words": self.word_level(counts)}
        self.facts |= self.vector_facts()

    def words_of(self, example: Any) -> Sequence[str]:
        return cutting.words(example.text)

    # --- model -------------------------------------------------------------------------------------------------------

    def make_model(self, seed: int) -> Layer:
        options, C = self.options, len(self.facts["labels"])
        shared = {"dropout": options["dropout"], "label_smoothing": options["label_smoothing"], "seed": seed}
        if options["model"] == "bert":
            shared |= {"pooling": options["pooling"], "frozen": options["freeze"]}
            if self._fresh_encoder:
                return models.BERTClassifier.from_pretrained(options["encoder"], C, **shared)
            return models.BERTClassifier(models.BERTConfig.from_dict(self.facts["encoder"]), C, **shared)
        V, words = self.word_sizes()
        shared |= {"embedding_size": options["embedding_size"], "word_dropout": options["word_dropout"], **words}
        if options["model"] == "words":
            more = {"ngrams": options["ngrams"], "buckets": options["buckets"], "hidden_size": options["hidden_size"] or None}
            return self.started(models.MeanClassifier(V, C, **more, **shared), seed)
        more = {"cell": options["model"], "hidden_size": options["hidden_size"], "num_layers": options["num_layers"]}
        return self.started(models.RecurrentClassifier(V, C, **more, **shared), seed)

    def _ids(self, text: str) -> np.ndarray:
        """A text's ids (T,), at least one and at most max_length."""
        if text not in self._cut:
            words, most = self.vocabularies["words"], self.options["max_length"]
            if self.options["model"] == "bert":
                most = min(most, self.facts["encoder"]["max_position_embeddings"])
                ids = words.encode_pair(text, max_length=most).input_ids
            else:
                ids = words.encode(" ".join(cutting.words(text)))[:most]
            self._cut[text] = ids if ids.size else np.array([words.unk_token_id], np.int32)
        return self._cut[text]

    def _padded(self, texts: Sequence[str]):
        """ids (B, T), lengths (B,)."""
        return side_by_side([self._ids(text) for text in texts])

    def batch(self, examples: Sequence) -> tuple:
        ids, lengths = self._padded([example.text for example in examples])
        return ids, np.array([self.facts["labels"].index(example.label) for example in examples]), lengths

    def length(self, example: Any) -> int:
        return self._ids(example.text).size

    # --- results -----------------------------------------------------------------------------------------------------

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (N, C) of the labels, in the order of ``facts["labels"]``."""
        probabilities = np.empty((len(texts), len(self.facts["labels"])))
        for some in near_lengths(len(self._ids(text)) for text in texts):
            batch = self.on_device(self._padded([texts[i] for i in some]))
            probabilities[some] = devices.to_host(self.model.probabilities(*batch))
        return probabilities

    def _labels(self, texts) -> list[str]:
        return [self.facts["labels"][i] for i in self.probabilities(texts).argmax(axis=1)]

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        return {"accuracy": accuracy([e.label for e in examples], self._labels([e.text for e in examples]))}

    def chance(self, examples: Sequence) -> float:
        return commonest([example.label for example in examples])

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        shown = [example for label in self.facts["labels"][:4] for example in [e for e in examples if e.label == label][:3]]
        return [(e.text, e.label, predicted) for e, predicted in zip(shown, self._labels([e.text for e in shown]), strict=True)]

    def answer(self, text: str) -> str:
        p = self.probabilities([text])[0]
        best = int(p.argmax())
        summary = f"{self.facts['labels'][best]} ({p[best]:.1%})"
        if self.options["model"] in ("lstm", "gru"):
            weights = self.weights(text)
            heaviest = sorted(weights, key=lambda each: -each[1])[:3]
            summary += "   by " + ", ".join(f"{word} {weight:.0%}" for word, weight in heaviest)
        return summary

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        from minilm.interpret.tasks import explain_label

        ids, labels, words = self._ids(text), self.facts["labels"], self.vocabularies["words"]
        is_bert = self.options["model"] == "bert"
        pieces = [words.id_to_token(int(id)) for id in ids] if is_bert else (cutting.words(text) or [text])[: len(ids)]
        numbers = {name: self._label(name) for name in (answer, foil) if name is not None}
        return explain_label(self.model, ids, pieces, labels, text=text, answer=numbers.get(answer), foil=numbers.get(foil))

    def _label(self, name: str) -> int:
        if name not in self.facts["labels"]:
            raise ValueError(f"there is no label {name!r}; {did_you_mean(name, self.facts['labels'])}")
        return self.facts["labels"].index(name)

    def weights(self, text: str) -> list[tuple[str, float]]:
        """The words of a text, and how much the attention took of each."""
        a = devices.to_host(self.model.attention(*self.on_device(self._padded([text])))[0])
        return list(zip(cutting.words(text) or [text], a.tolist(), strict=False))

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        if self.options["model"] not in ("lstm", "gru"):
            return []
        from minilm.recipes.shading import shaded

        rows = []
        for text, expected, predicted in self.samples(examples):
            title = predicted if predicted == expected else f"{predicted} (wanted {expected})"
            rows.append((self.weights(text), title))
        return [shaded(os.path.join(folder, "attention.png"), rows)]


_RECURRENT = {"embedding_size": 100, "hidden_size": 100, "dropout": 0.5, "word_dropout": 0.3, "average": 0.998}
WITH_VECTORS = {"hidden_size": 150, "word_dropout": 0.15}  # of a recurrent model besides, where words start from vectors
LARGER = {  # settings for real data, where they are large
    "lstm": {**_RECURRENT, "batch": 64, "steps": 6000},
    "gru": {**_RECURRENT, "batch": 64, "steps": 6000},
    "words": {"hidden_size": 0, "dropout": 0.5, "word_dropout": 0.5, "average": 0.998, "batch": 64, "steps": 3000},
}
