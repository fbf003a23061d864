"""A recipe of a few lines: which of four letters is the first of a word."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices, layers, tokenizers
from minilm.ops import cross_entropy
from minilm.recipes.base import Recipe


class Example(NamedTuple):
    text: str
    label: str


class First(layers.Layer):
    def __init__(self, V, **options):
        super().__init__(**options)
        self.embedding = layers.Embedding(V, 8, seed=self._generator)
        self.output = layers.Linear(8, 4, seed=self._generator)

    def logits(self, ids):
        return self.output(self.embedding(ids[:, 0]))  # (B, 4)

    def forward(self, ids, labels, *, key=None):
        x, embedded = self.embedding.forward(ids[:, 0])  # (B, 8)
        logits, projected = self.output.forward(x)  # (B, 4)
        loss, saved = cross_entropy.forward(logits, labels)
        return loss, (embedded, projected, saved)

    def backward(self, saved):
        dlogits = cross_entropy.backward(1.0, saved[2])  # (B, 4)
        self.embedding.backward(self.output.backward(dlogits, saved[1]), saved[0])


class Toy(Recipe):
    """Which of four letters is first.

    Real data: one word a line.
    """

    name, summary, metric, prompt = "toy", "the first letter", "accuracy", "word"
    options = {"steps": 120, "lr": 0.05, "batch": 16, "noise": "none"}
    choices = {"noise": ("none", "some")}

    def generate(self, seed):
        rng = np.random.default_rng(seed)
        words = ["".join(rng.choice(list("abcd"), rng.integers(1, 6))) for _ in range(200)]
        examples = [Example(word, word[0]) for word in words]
        return examples[:160], examples[160:]

    def read(self, path):
        examples = []
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word = line.rstrip("\n")
                if not word:
                    raise ValueError(f"{path}:{number}: an empty line; wanted a word")
                examples.append(Example(word, word[0]))
        return examples[::2], examples[1::2]

    def prepare(self, train):
        self.vocabularies = {"letters": tokenizers.Character.train_from_chunks(example.text for example in train)}
        self.facts = {"labels": sorted({example.label for example in train})}

    def make_model(self, seed):
        return First(self.vocabularies["letters"].vocab_size, seed=seed)

    def length(self, example):
        return len(example.text)

    def _ids(self, texts):
        return np.array([self.vocabularies["letters"].encode(text)[:1] for text in texts])

    def batch(self, examples):
        return self._ids([e.text for e in examples]), np.array([self.facts["labels"].index(e.label) for e in examples])

    def _labels(self, texts):
        logits = devices.to_host(self.model.logits(self.on_device(self._ids(texts))))
        return [self.facts["labels"][i] for i in logits.argmax(axis=-1)]

    def evaluate(self, examples):
        predictions = self._labels([example.text for example in examples])
        return {"accuracy": float(np.mean([a == e.label for a, e in zip(predictions, examples, strict=True)]))}

    def chance(self, examples):
        return 0.25

    def samples(self, examples):
        return [(e.text, e.label, self.answer(e.text)) for e in examples[:3]]

    def answer(self, text):
        return self._labels([text])[0]
