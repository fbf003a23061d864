"""The recipe `intents`: what somebody wants, and the words that say of what."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minilm import devices, models
from minilm.data.lines import BadRow, BadRows, Line, lines
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy
from minilm.metrics.entities import is_tag
from minilm.recipes import cutting, labelled, requests
from minilm.recipes.requests import Request
from minilm.recipes.tag import OPTIONS, Tag
from minilm.typing import PathLike

__all__ = ["Intents"]

TRAIN, VALIDATION = 3000, 400  # requests made
FILES = ("seq.in", "seq.out", "label")


class Intents(Tag):
    """Requests to a machine: the intent of each, and the slots that its words fill.

    Built-in data: requests made by a grammar, for weather, tables, music, books and alarms; most names are new.

    Real data: a folder with train and valid (or dev, test), each a folder with three files of a line a request, in UTF-8, as
    SNIPS and ATIS come: seq.in (the words), seq.out (their slots: O, and B- or I- with a type) and label (the intent). The metric
    is the F1 of slots; beside it the accuracy of intents, and of whole requests: the intent and all slots.

    The model: as the recipe tag's, with attention over the same states for the intent; vectors=FILE too.
    """

    name, summary, metric, prompt = "intents", "what a request wants, and the slots that its words fill", "f1", "request"
    options = OPTIONS
    least = {"min_count": 1}

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        examples = requests.requests(seed, TRAIN + VALIDATION)
        return examples[:TRAIN], examples[TRAIN:]

    def read(self, path: PathLike) -> tuple[list, list]:
        parts = []
        for part, names in (("training", ("train",)), ("validation", labelled.VALIDATION)):
            folders = [os.path.join(path, name) for name in names]
            folder = next((each for each in folders if os.path.isdir(each)), None)
            if folder is None:
                raise ValueError(f"{os.fspath(path)}: there is no {part} part; wanted a folder {' or '.join(names)}")
            parts.append(list(_requests(folder, self.bad_rows)))
        return parts[0], parts[1]

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        intents = labelled.unlearnable("intent", (e.intent for e in train), (e.intent for e in validation))
        return super().remarks(train, validation) + intents

    def prepare(self, train: Sequence) -> None:
        super().prepare(train)
        self.facts["intents"] = sorted({example.intent for example in train})

    # --- model -------------------------------------------------------------------------------------------------------

    def make_model(self, seed: int) -> Layer:
        V, words = self.word_sizes()
        sizes = V, len(self.facts["tags"]), len(self.facts["intents"])
        return self.started(models.IntentTagger(*sizes, seed=seed, **words, **self._model_options()), seed)

    def batch(self, examples: Sequence) -> tuple:
        ids, tags, *more = super().batch(examples)
        return ids, tags, self._numbers([example.intent for example in examples]), *more

    def _numbers(self, intents: Sequence[str]):
        return np.array([self.facts["intents"].index(intent) for intent in intents])  # (B,)

    # --- results -----------------------------------------------------------------------------------------------------

    def read_requests(self, sentences: Sequence[Sequence[str]]) -> list[Request]:
        """The requests that the model makes of sentences, each a sequence of words."""
        examples = [Request(tuple(words), (), "") for words in sentences]
        names, intents, allowed = self.facts["tags"], self.facts["intents"], self._allowed()
        for some, inputs in self._parts(examples):
            p, best = devices.to_host(self.model.read(*self.on_device(inputs), allowed=allowed))  # (B, C), (B, T)
            for i, row, tags in zip(some, p, best, strict=True):
                words = examples[i].words
                examples[i] = Request(words, tuple(names[tag] for tag in tags[: len(words)]), intents[row.argmax()])
        return examples

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        predictions = self.read_requests([example.words for example in examples])
        intents = accuracy([e.intent for e in examples], [e.intent for e in predictions])
        whole = accuracy([(e.intent, tuple(e.tags)) for e in examples], [(e.intent, e.tags) for e in predictions])
        scores = self.score([each.tags for each in predictions], examples)
        return {"f1": scores.pop("f1"), "intent_accuracy": intents, "whole_accuracy": whole, **scores}

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:6]
        predictions = self.read_requests([example.words for example in some])
        return [(" ".join(e.words), self._line(e), self._line(p)) for e, p in zip(some, predictions, strict=True)]

    def answer(self, text: str) -> str:
        words = cutting.words(text)
        return self._line(self.read_requests([words])[0]) if words else ""

    def _of_whole(self, foil: str | None) -> tuple[dict[str, Any], str | None]:
        intents = self.facts["intents"]
        is_intent = foil in intents
        return {"classes": intents, "other_class": intents.index(foil) if is_intent else None}, None if is_intent else foil

    def _line(self, request: Request) -> str:
        return f"{request.intent}: {self.shown(request.words, request.tags)}"


def _requests(folder: str, bad_rows: BadRows) -> Iterator[Request]:
    """The requests of a part, line by line of its three files."""
    paths = [_file(folder, name) for name in FILES]
    rows = [list(lines(path)) for path in paths]
    counts = {len(each) for each in rows}
    if len(counts) > 1:
        raise ValueError(
            f"{folder}: {', '.join(f'{name} has {len(each)} lines' for name, each in zip(FILES, rows, strict=True))}"
        )
    for row in zip(*rows, strict=True):
        request = None
        with bad_rows:
            request = _request(*row)
        if request is not None:
            yield request
    bad_rows.require(rows[0], f"{folder}: there are no requests in it")


def _file(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    path = path if os.path.exists(path) else f"{path}.gz"
    if not os.path.exists(path):
        raise ValueError(f"{folder}: there is no file {name}; wanted {', '.join(FILES)}")
    return path


def _request(text: Line, slots: Line, label: Line) -> Request:
    words, tags, intent = tuple(text.text.split()), tuple(slots.text.split()), label.text.strip()
    if len(words) != len(tags) or not words:
        raise BadRow(f"{slots.where}: {len(tags)} slots for {len(words)} words: {text.text[:60]!r}")
    if not intent:
        raise BadRow(f"{label.where}: an empty line; wanted an intent")
    wrong = next((tag for tag in tags if not is_tag(tag)), None)
    if wrong is not None:
        raise BadRow(f"{slots.where}: the slot {wrong!r}; wanted O, or B- or I- with a type")
    return Request(words, tags, intent)
