"""How passages and questions become what a span reader reads, and its logits answers: for LSTMs, and for a BERT.

A long passage is read in windows that overlap by half. A training example is the first window that holds its answer whole; an
answer is the best span of all windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices, models, tokenizers
from minilm.hub import model_folder
from minilm.layers.base import Layer
from minilm.metrics.squad import exact_match, scores
from minilm.models.pretrained import config_from
from minilm.models.spans import best_spans
from minilm.recipes.squad import Question, span_of, windows, words
from minilm.weights import read_config

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["BERTReading", "LSTMReading"]


class _Window(NamedTuple):
    """A part of a passage, with its question, as a model reads it."""

    arrays: tuple  # what is padded to a batch, each (T, ...) or (Q,)
    places: list  # (start, end) in the passage of each place of the first array; (0, 0) where an answer cannot be


class _SpanReading:
    """What both have: a passage's windows, the batches that they become, and the best span of all of them.

    Parameters
    ----------
    vocabularies, facts, options : dict
        The recipe's.
    fresh : bool
        Whether its model is yet to be made, so that a BERT is read from the folder that `options` name.
    """

    def __init__(self, vocabularies: dict[str, Any], facts: dict[str, Any], options: dict[str, Any], fresh: bool = False):
        self.vocabularies, self.facts, self.options, self.fresh = vocabularies, facts, options, fresh

    def _windows(self, example: Question) -> list[_Window]:
        raise NotImplementedError

    def _padded(self, windows: list[_Window]) -> list[np.ndarray]:
        """The arrays of several windows as batches (B, T, ...), zeros at the ends of rows."""
        batches = []
        for parts in zip(*(window.arrays for window in windows), strict=True):
            longest = max(map(len, parts))
            batch = np.zeros((len(parts), longest, *parts[0].shape[1:]), parts[0].dtype)
            for row, part in zip(batch, parts, strict=True):
                row[: len(part)] = part
            batches.append(batch)
        return batches

    def _training(self, example: Question) -> tuple[_Window, tuple[int, int]]:
        """The window that holds the answer, and where in it."""
        windows, start, end = self._windows(example), example.start, example.start + len(example.answers[0])
        best = None
        for window in windows:
            span = span_of(window.places, start, end)
            if span is None:
                continue
            whole = window.places[span[0]][0] <= start and window.places[span[1]][1] >= end
            if whole:
                return window, span
            best = best or (window, span)
        if best is None:
            raise ValueError(f"the answer {example.answers[0]!r} is in no window of its passage: a larger max_length may hold it")
        return best

    def _scored(self, model, windows: list[_Window]) -> tuple[np.ndarray, np.ndarray]:
        """Best spans (B, 2) of windows and their scores (B,)."""
        raise NotImplementedError

    def answers(self, model: Layer, examples: Sequence) -> list[str]:
        """The best span of each passage, as it is written there."""
        each = [self._windows(example) for example in examples]
        flat = [window for pieces in each for window in pieces]
        spans, scores = self._scored(model, flat)
        answers, place = [], 0
        for example, pieces in zip(examples, each, strict=True):
            best = place + int(np.argmax(scores[place : place + len(pieces)]))
            (first, last), places = spans[best], flat[best].places
            answers.append(example.passage[places[first][0] : places[last][1]])
            place += len(pieces)
        return answers

    def metrics(self, model: Layer, examples: Sequence) -> dict[str, float]:
        """Exact match and F1, as SQuAD's."""
        return scores(self.answers(model, examples), [example.answers for example in examples])

    def chance(self, examples: Sequence) -> float:
        """Exact match of any one word of the passage."""
        hits = []
        for example in examples:
            among = words(example.passage)
            hits.append(sum(exact_match(word.text, example.answers) for word in among) / max(1, len(among)))
        return float(np.mean(hits))

    def example_of(self, sentences: Sequence[str], passage: str, question: str) -> Question:
        """What somebody typed, as an example."""
        return Question(passage, question, ("",), 0)

    def pictures(self, model: Layer, folder: str, examples: Sequence) -> list[str]:
        return []

    def explained(self, model: Layer, example: Question, text: str, answer: str | None, foil: str | None) -> Decisions:
        """Why the answer, or another part of the passage, and not a third one; in the window that has the best answer."""
        from minilm.interpret.tasks import explain_span

        windows = self._windows(example)
        spans, scores = self._scored(model, windows)
        best = int(np.argmax(scores))
        window, span = windows[best], tuple(int(i) for i in spans[best])
        if answer is not None:
            span = self._place_of(example, window, answer)
        else:
            answer = example.passage[window.places[span[0]][0] : window.places[span[1]][1]]
        other = None if foil is None else self._place_of(example, window, foil)
        arrays, pieces = self._padded([window])[:3], self._pieces(example, window)
        return explain_span(model, arrays, span, pieces, text=text, answer=answer, foil=other, foil_text=foil)

    def _place_of(self, example: Question, window: _Window, text: str) -> tuple[int, int]:
        """The first and the last place of a part of the passage."""
        start = example.passage.find(text)
        span = None if start < 0 or not text else span_of(window.places, start, start + len(text))
        if span is None:
            raise ValueError(f"{text!r} is no part of the passage as it is read")
        return span

    def _pieces(self, example: Question, window: _Window) -> list[str]:
        """What the places of the arrays stand for, as `minilm.interpret.tasks.explain_span` wants them."""
        raise NotImplementedError


class LSTMReading(_SpanReading):
    """For `minilm.models.Reader`."""

    @staticmethod
    def counts(train: Sequence, most: int) -> Counter[str]:
        """How often the `most` commonest words stand in passages, each read once, and questions."""
        counts: Counter[str] = Counter()
        for passage in {example.passage for example in train}:
            counts.update(word.text.lower() for word in words(passage))
        for example in train:
            counts.update(word.text.lower() for word in words(example.question))
        common = sorted(counts, key=lambda word: (-counts[word], word))[:most]
        return Counter({word: counts[word] for word in common})

    def make_model(self, seed: int, words: int, fixed_words: int) -> Layer:
        options = self.options
        return models.Reader(
            words,
            options["embedding_size"],
            options["hidden_size"],
            num_layers=options["num_layers"],
            features=2,
            fixed_words=fixed_words,
            dropout=options["dropout"],
            seed=seed,
        )

    def _ids(self, words) -> np.ndarray:
        return self.vocabularies["words"].encode(" ".join(word.text.lower() for word in words)).astype(np.int64) + 1

    def _windows(self, example):
        passage, question_words = words(example.passage), words(example.question)
        if not passage or not question_words:
            raise ValueError(f"a {'question' if passage else 'passage'} must hold a word")
        exact, lower = {word.text for word in question_words}, {word.text.lower() for word in question_words}
        question, result = self._ids(question_words), []
        for start, end in windows(len(passage), self.options["max_length"]):
            part = passage[start:end]
            features = np.array([[w.text in exact, w.text.lower() in lower] for w in part], np.float32)  # (T, 2)
            result.append(_Window((self._ids(part), question, features), [(w.start, w.end) for w in part]))
        return result

    def _pieces(self, example, window):
        return [*(word.text for word in words(example.question)), *(example.passage[a:b] for a, b in window.places)]

    def batch(self, examples: Sequence) -> tuple:
        windows, spans = zip(*map(self._training, examples), strict=True)
        passage, question, features = self._padded(windows)
        return passage, question, np.array(spans), features

    def _scored(self, model, windows):
        parts = []
        for start in range(0, len(windows), 50):
            passage, question, features = devices.to(model.device, self._padded(windows[start : start + 50]))
            parts.append(best_spans(*model.logits(passage, question, features), most=self.options["answer_length"]))
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


class BERTReading(_SpanReading):
    """For `minilm.models.BERTForQuestionAnswering`: ``[CLS] question [SEP] passage [SEP]``."""

    @classmethod
    def prepared(cls, train: Sequence, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Vocabularies and facts."""
        if options["weights"] is not None:
            folder = model_folder(options["weights"])
            config = config_from(read_config(folder, ["bert"]))
            return {"pieces": tokenizers.WordPiece.load(folder)}, {"config": config.to_dict()}
        texts = [*{example.passage for example in train}, *(example.question for example in train)]
        pieces = tokenizers.WordPiece.train_from_chunks("\n".join(texts), vocab_size=min(8000, options["vocab_size"]))
        D = options["hidden_size"]
        config = models.BERTConfig(
            vocab_size=pieces.vocab_size,
            hidden_size=D,
            num_hidden_layers=options["num_layers"],
            num_attention_heads=max(1, D // 32),
            intermediate_size=4 * D,
            max_position_embeddings=512,
            hidden_dropout_prob=options["dropout"],
            attention_probs_dropout_prob=options["dropout"],
        )
        return {"pieces": pieces}, {"config": config.to_dict()}

    def make_model(self, seed: int) -> Layer:
        if self.fresh and self.options["weights"] is not None:
            return models.BERTForQuestionAnswering.from_pretrained(self.options["weights"], seed=seed)
        return models.BERTForQuestionAnswering(models.BERTConfig.from_dict(self.facts["config"]), seed=seed)

    def _windows(self, example):
        passage, longest = words(example.passage), self.facts["config"]["max_position_embeddings"]
        if not passage or not words(example.question):
            raise ValueError(f"a {'question' if passage else 'passage'} must hold a word")
        result = []
        for start, end in windows(len(passage), self.options["max_length"]):
            offset = passage[start].start
            text = example.passage[offset : passage[end - 1].end]
            pair = self.vocabularies["pieces"].encode_pair(example.question, text, max_length=longest, truncation="only_second")
            inside = pair.sequence_ids == 1  # (T,)
            arrays = (pair.input_ids.astype(np.int64), pair.token_type_ids.astype(np.int64), np.ones(len(inside), bool), inside)
            places = [(int(a) + offset, int(b) + offset) if i else (0, 0) for (a, b), i in zip(pair.offsets, inside, strict=True)]
            result.append(_Window(arrays, places))
        return result

    def _pieces(self, example, window):
        return [self.vocabularies["pieces"].id_to_token(int(id)) for id in window.arrays[0]]

    def batch(self, examples: Sequence) -> tuple:
        windows, spans = zip(*map(self._training, examples), strict=True)
        ids, types, mask, _ = self._padded(windows)
        return ids, np.array(spans), types, mask

    def _scored(self, model, windows):
        parts = []
        for start in range(0, len(windows), 25):
            ids, types, mask, inside = devices.to(model.device, self._padded(windows[start : start + 25]))
            logits = model.logits(ids, types, mask)  # (B, T, 2)
            parts.append(best_spans(logits[..., 0], logits[..., 1], most=2 * self.options["answer_length"], inside=inside))
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))
