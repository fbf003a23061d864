"""The recipe `summarise`: from a report to its headline."""

from __future__ import annotations

import os
from collections.abc import Sequence

from minilm.data import pairs
from minilm.metrics.rouge import rouge, words
from minilm.recipes import abstracts, reports
from minilm.recipes.abstracts import Abstract, Extracted, Parts
from minilm.recipes.pairs import OPTIONS, PairRecipe
from minilm.typing import PathLike

__all__ = ["Summarise"]

PASSES = 16  # over abstracts, where nobody says how long to train


class Summarise(PairRecipe):
    """Say in a few words what a text says: an encoder-decoder over pieces of words (byte-level BPE).

    Built-in data: generated reports of matches, companies, councils and storms, and their headlines. Real data, --data PATH:

    - a file with a line an example, text<TAB>summary; a tenth is held out;
    - abstracts and summaries of one sentence as JSON lines, in the form of SciTLDR: objects with "source" and "target", each a
      text or a list; a file .jsonl or .json, or a folder with train and dev (or valid, test), also with .gz. Where there are
      several summaries, the nearest counts.

    --set copy=true lets the model take tokens from the text, by a pointer beside the output layer; follow=true tells it where the
    tokens that it wrote last stand there, so that it can take phrases; no_repeat=3 keeps it from writing three tokens twice. With
    JSON lines it has all of these, and sentences=true: beside the summaries it learns the sentences that are nearest to them.

    The metric is ROUGE-L (F, with ROUGE-1 and ROUGE-2 beside it). A guess takes the text's first words, as many as summaries have
    in the mean.
    """

    name, summary, metric, prompt = "summarise", "a headline for a report", "rouge_l", "report"
    options = {
        **OPTIONS,
        "tokens": "bpe",
        "vocab_size": 1000,
        "hidden_size": 192,
        "batch": 64,
        "lr": 4e-3,
        "steps": 2400,
        "beta2": 0.98,
        "dropout": 0.1,
        "sentences": False,  # of JSON lines: whether the sentence of each text that is nearest to its summaries is learned too
        "examples": 8000,  # of the built-in data
    }

    def generate(self, seed: int) -> tuple[list, list]:
        self._refuse_sentences()
        return pairs.hold_out(reports.generate(self.options["examples"], seed), seed=seed)

    def read(self, path: PathLike) -> tuple[list, list]:
        self._path = path
        if os.path.isdir(path) or os.fspath(path).removesuffix(".gz").endswith(abstracts.ENDINGS):
            return self._read_abstracts(path)
        self._refuse_sentences()
        return pairs.hold_out(pairs.read_file(path, "text<TAB>summary", "\t", self.columns(), self.bad_rows))

    def _refuse_sentences(self) -> None:
        if self.options["sentences"] and self.model is None:  # a trained model learns none of what it is measured on
            raise ValueError("sentences is for abstracts in JSON lines, whose sentences are learned beside their summaries")

    def _read_abstracts(self, path: PathLike) -> tuple[list, list]:
        parts, others = abstracts.read(path, self.bad_rows, Parts)
        train = [Abstract.of(*each) for each in parts]
        self.suggest(sentences=True)
        if self.options["sentences"]:
            train += [Extracted.of(*each) for each in parts]
        return train, [Abstract.of(*each) for each in others]

    def measurable(self, train: Sequence) -> list:
        return [each for each in train if not isinstance(each, Extracted)]

    def adapt(self, train: Sequence) -> None:
        if isinstance(train[0], Abstract):
            steps = round(PASSES * len(self.measurable(train)) / 32)
            self.suggest(vocab_size=4000, hidden_size=256, embedding_size=128, copy=True, tied=True, dropout=0.3)
            if self.options["copy"]:
                self.suggest(attention="luong", follow=True)
            self.suggest(batch=32, lr=2e-3, beams=4, steps=steps, average=0.99, evaluate_examples=100)
            if self.options["beams"] > 1:
                self.suggest(no_repeat=3)
        elif hasattr(self, "_path"):
            budget = {} if "steps" in self.chosen else {"minutes": 20.0}
            self.suggest(
                vocab_size=8000, hidden_size=256, embedding_size=128, dropout=0.2, label_smoothing=0.1, beams=4, **budget
            )

    def prepare(self, train: Sequence) -> None:
        super().prepare(train)
        summaries = [pair.target for pair in self.measurable(train)]
        self.facts["words"] = max(1, round(sum(len(words(summary)) for summary in summaries) / len(summaries)))

    def score(self, predictions: Sequence[str], examples: Sequence) -> dict[str, float]:
        exact = sum(text == pair.target for text, pair in zip(predictions, examples, strict=True)) / len(examples)
        return {**rouge(predictions, [_references(pair) for pair in examples]), "exact_match": exact}

    def chance(self, examples: Sequence) -> float:
        lead = [" ".join(words(pair.source)[: self.facts["words"]]) for pair in examples]
        return rouge(lead, [_references(pair) for pair in examples])["rouge_l"]


def _references(pair) -> list[str]:
    """All summaries of an example."""
    return [pair.target, *(pair.others if isinstance(pair, Abstract) else ())]
