"""The recipe `translate`: dates, sums, sentences."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from minilm.data import pairs
from minilm.metrics import bleu
from minilm.recipes import dates
from minilm.recipes.pairs import OPTIONS, PairRecipe
from minilm.typing import PathLike

__all__ = ["Translate"]

PASSES = 11.5  # over parallel text, where nobody says how long to train


class Translate(PairRecipe):
    """Write a text in another form or language: an LSTM or GRU encoder-decoder with attention, or a transformer.

    Built-in data: dates as people write them, to be written as ISO 8601 (exact match). Real data, --data PATH:

    - a file with a line an example, "source_target" of fixed width, as date.txt and addition.txt of "Deep Learning from
      Scratch 2", or source<TAB>target: a tenth is held out, and exact match is measured; of more columns between tabs,
      the settings source_column and target_column name two (1 and 2 for the files of Tatoeba, such as fra.txt);
    - a folder, or what the files' paths begin with, of parallel text: train.de and train.en, line by line, and val.de and val.en
      (without them a tenth of the sentences is held out), each also with .gz: sentences in pieces of words (byte-level BPE), a
      transformer, and BLEU, for which sacrebleu must be installed (pip install 'minilm[tasks]'). From the language that comes
      first in the alphabet to the other, unless the settings source and target name them.
    """

    name, metric, prompt = "translate", "exact_match", "text"
    summary = "a text in another form or language: dates, sums, sentences"
    options = {
        **OPTIONS,
        "batch": 64,
        "lr": 4e-3,
        "steps": 1500,
        "beta2": 0.98,
        "examples": 8000,  # of the built-in data
        "source": None,  # languages of parallel text
        "target": None,
    }

    def generate(self, seed: int) -> tuple[list, list]:
        return pairs.hold_out(dates.generate(self.options["examples"], seed), seed=seed)

    def read(self, path: PathLike) -> tuple[list, list]:
        if os.path.isfile(path):
            return pairs.hold_out(pairs.read_file(path, columns=self.columns(), bad_rows=self.bad_rows))
        bleu.require()  # now, not after an hour
        train, validation = pairs.read_parallel(path, self.options["source"], self.options["target"], self.bad_rows)
        self.facts = {"metric": "bleu"}
        return (train, validation) if validation else pairs.hold_out(train)

    def adapt(self, train: Sequence) -> None:
        if "metric" in self.facts:
            self.suggest(
                model="transformer",
                tokens="bpe",
                hidden_size=256,
                layers=3,
                heads=8,
                feed_forward=2,
                dropout=0.15,
                label_smoothing=0.1,
                tied=True,
                batch=128,
                lr=1.5e-3,
                warmup=0.1,
                average=0.998,
                beams=5,
                evaluate_examples=300,
                steps=round(PASSES * len(train) / 128),
            )
        elif len(train) > 10_000:
            self.suggest(batch=128, **({} if "steps" in self.chosen else {"minutes": 3.0}))

    def prepare(self, train: Sequence) -> None:
        super().prepare(train)
        if "metric" not in self.facts:
            self.facts["metric"] = "exact_match"
            self.facts["commonest"] = Counter(pair.target for pair in train).most_common(1)[0][0]
        self.metric = self.facts["metric"]

    def score(self, predictions: Sequence[str], examples: Sequence) -> dict[str, float]:
        exact = sum(text == pair.target for text, pair in zip(predictions, examples, strict=True)) / len(examples)
        if self.facts["metric"] == "bleu":
            return {"bleu": bleu.corpus_bleu(predictions, [pair.target for pair in examples]), "exact_match": exact}
        return {"exact_match": exact}

    def chance(self, examples: Sequence) -> float:
        """The exact match of the commonest target for every source; or the BLEU of the source as it is."""
        if self.facts["metric"] == "bleu":
            return bleu.corpus_bleu([pair.source for pair in examples], [pair.target for pair in examples])
        return sum(pair.target == self.facts["commonest"] for pair in examples) / len(examples)
