"""How stories and questions become what a memory network reads, and its logits answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, models, tokenizers
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy, commonest
from minilm.pictures import new_figure, write_png
from minilm.recipes.padding import side_by_side
from minilm.recipes.stories import Story, words_of

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Remembering"]

PACE = 150  # steps a second, about, where a budget in minutes must be split before anything is known
CHUNK = 100  # questions that are answered side by side


class Remembering:
    """For `minilm.models.MemoryNetwork`: the sentences of a story are its memory.

    The counterpart of `minilm.recipes.reading.LSTMReading`, for stories in the place of passages.
    """

    def __init__(self, vocabularies: dict[str, Any], facts: dict[str, Any], options: dict[str, Any], fresh: bool = False):
        self.vocabularies, self.facts, self.options = vocabularies, facts, options
        self._known: dict[str, np.ndarray] = {}  # sentence -> ids: few sentences are many stories

    @classmethod
    def prepared(cls, train: Sequence, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Vocabularies and facts."""
        counted = {word for story in train for text in (*story.sentences, story.question) for word in words_of(text)}
        answers = {story.answer.lower() for story in train}
        words = tokenizers.WordLevel(sorted(counted | answers), split="spaces", eos_token=None)
        return {"words": words}, {"answers": sorted(answers)}

    def make_model(self, seed: int) -> Layer:
        options = self.options
        budget = options["steps"] if options["minutes"] is None else 60 * options["minutes"] * PACE
        return models.MemoryNetwork(
            self.vocabularies["words"].vocab_size + 1,
            options["hidden_size"],
            hops=options["hops"],
            memory_size=options["memory_size"],
            tying=options["tying"],
            position_encoding=options["position_encoding"],
            position_scale=options["position_scale"],
            time_noise=options["time_noise"],
            empty_place=options["empty_place"],
            linear_steps=int(options["linear_start"] * budget),
            seed=seed,
        )

    def batch(self, examples: Sequence) -> tuple:
        story, question = self._arrays(examples)
        return story, question, np.array([self._id(example.answer) for example in examples])

    def _id(self, word: str) -> int:
        return int(self.vocabularies["words"].encode(word.lower())[0]) + 1  # 0 is padding

    def _ids(self, sentence: str) -> np.ndarray:
        if sentence not in self._known:
            self._known[sentence] = self.vocabularies["words"].encode(" ".join(words_of(sentence))).astype(np.int64) + 1
        return self._known[sentence]

    def _arrays(self, examples):
        """Words of the stories (B, M, J) and of the questions (B, Q); of a long story the latest sentences."""
        most = self.options["memory_size"]
        stories = [example.sentences[-most:] for example in examples]
        counts = np.array([len(sentences) for sentences in stories])  # (B,)
        ids, _ = side_by_side([self._ids(each) for sentences in stories for each in sentences])  # (sentences of all, J)
        story = np.zeros((len(stories), counts.max(), ids.shape[1]), np.int64)
        story[np.arange(counts.max()) < counts[:, None]] = ids
        question, _ = side_by_side([self._ids(example.question) for example in examples])
        return story, question

    # --- answers -----------------------------------------------------------------------------------------------------

    def answers(self, model: Layer, examples: Sequence) -> list[str]:
        """The most probable of the words that were an answer in training, to each question."""
        return self._looked(model, examples)[0]

    def _looked(self, model, examples) -> tuple[list[str], list[np.ndarray]]:
        """The answers, and where the hops looked for each, (K, M)."""
        answers: list[str] = []
        looked: list[np.ndarray] = []
        among = np.array([self._id(word) for word in self.facts["answers"]])  # (A,)
        for start in range(0, len(examples), CHUNK):
            arrays = devices.to(model.device, self._arrays(examples[start : start + CHUNK]))
            reading = devices.to_host(model.read(*arrays))
            answers += [self.facts["answers"][i] for i in reading.logits[:, among].argmax(axis=1)]
            looked += list(reading.attention)
        return answers, looked

    def metrics(self, model: Layer, examples: Sequence) -> dict[str, float]:
        """Exact match; and how often some hop looked most at a sentence that the answer rests on, where that is known."""
        answers, looked = self._looked(model, examples)
        result = {"exact_match": accuracy([example.answer.lower() for example in examples], answers)}
        known = [(each.support, len(each.sentences), p) for each, p in zip(examples, looked, strict=True) if each.support]
        if known:
            most = self.options["memory_size"]
            hits = [bool({int(i) + max(0, n - most) for i in p.argmax(axis=1)} & set(support)) for support, n, p in known]
            result["support_seen"] = sum(hits) / len(hits)
        return result

    def chance(self, examples: Sequence) -> float:
        """The commonest answer."""
        return commonest([example.answer for example in examples])

    def example_of(self, sentences: Sequence[str], passage: str, question: str) -> Story:
        """What somebody typed, as an example; ValueError for words that are not known."""
        known = self.vocabularies["words"]
        texts = (*sentences, question)
        unknown = dict.fromkeys(word for each in texts for word in words_of(each) if known.token_to_id(word) is None)
        if unknown:
            raise ValueError(f"the model knows no {', '.join(map(repr, unknown))}; it learned {len(known.vocabulary)} words")
        return Story(tuple(sentences), question, "", ())

    def explained(self, model: Layer, example: Story, text: str, answer: str | None, foil: str | None) -> Decisions:
        """Why the answer, or another word that was one in training, and not a third one."""
        from minilm.interpret.tasks import explain_story

        story = example.sentences[-self.options["memory_size"] :]
        arrays = (each[0] for each in self._arrays([example]))
        answers = [(word, self._id(word)) for word in self.facts["answers"]]
        return explain_story(model, *arrays, story, answers, text=text, answer=answer, foil=foil)

    def pictures(self, model: Layer, folder: str, examples: Sequence) -> list[str]:
        """hops.png: where each hop looked, for three stories."""
        some = sorted(examples[:40], key=lambda story: abs(len(story.sentences) - 10))[:3]
        answers, looked = self._looked(model, some)
        heights = [1.2 + 0.24 * p.shape[1] for p in looked]  # inches
        figure = new_figure((9, sum(heights)))
        every = figure.subplots(len(some), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, story, answer, p in zip(every, some, answers, looked, strict=True):
            read = story.sentences[-self.options["memory_size"] :]
            first = len(story.sentences) - len(read)
            p = p[:, : len(read)]  # (K, M), without the padding of the batch
            image = axes.imshow(p.T, cmap="Purples", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            names = [f"{'*' if first + i in story.support else ' '} {each[:60]}" for i, each in enumerate(read)]
            axes.set_yticks(range(len(read)), names, fontsize=7, parse_math=False)
            axes.set_xticks(range(len(p)), [f"hop {k + 1}" for k in range(len(p))], fontsize=8)
            title = f"{story.question}  {answer}  (wanted {story.answer}; * supports it)"
            axes.set_title(title, loc="left", fontsize=9, parse_math=False)
        figure.colorbar(image, ax=list(every), shrink=0.5, pad=0.01, label="weight")
        return [write_png(figure, os.path.join(folder, "hops.png"))]
