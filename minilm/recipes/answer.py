"""The recipe `answer`: questions about stories, by a memory network, and about passages, by a span reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.data.lines import lines
from minilm.layers.base import Layer
from minilm.recipes import cutting, stories
from minilm.recipes.pretrained_words import VECTORS, WordRecipe
from minilm.recipes.reading import BERTReading, LSTMReading
from minilm.recipes.remembering import Remembering
from minilm.recipes.squad import of_story, read_squad, words
from minilm.recipes.stories import Story
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Answer"]

SUGGESTED: dict[int, dict] = {  # for the built-in tasks
    1: {"steps": 3000},
    2: {"steps": 20000},
    3: {"steps": 30000, "examples": 100000, "hidden_size": 64, "hops": 4, "time_noise": 0.02},
}
PASSES = 100  # over real stories, where nobody says how long to train
REAL = {  # for real stories, nearly as the network's authors train: the linear start and the restarts rest on these
    "optimizer": "sgd",
    "lr": 0.32,
    "hidden_size": 20,
    "position_scale": 2.0,
    "empty_place": True,
}
READINGS = {"memory": Remembering, "reader": LSTMReading, "bert": BERTReading}
PARTS = ("train", "test"), ("train", "dev"), ("train", "valid")  # names of parts that belong together


class Answer(WordRecipe):
    """Answers questions: about stories, with a word, and about passages, with a part of them.

    Built-in data are stories of people who carry things between places, with questions in the manner of bAbI's tasks 1 to 3,
    which rest on one, two or three sentences: --set task=2. They are answered by an end-to-end memory network; with
    --set model=reader by a span reader, which points at the answer in the story.

    Exact match on one core, with the settings that the tasks have of themselves: task 1 1.000 after 7 s of training, task 2
    0.997 after 37 s, task 3 0.916 after 30,000 steps in 4 minutes; of the reader, after 2.5 minutes each, 1.000 on task 1 and
    0.349 on task 2.

    Real data: a file in bAbI's form (`3 Where is Mary?<tab>bathroom<tab>1`), or a JSON file in SQuAD's form, for the reader.
    With "train" in its name, the file beside it that has "test", "dev" or "valid" there instead is the validation part; without
    one, the last tenth is. Stories are learned from in a hundred passes, by SGD; the first weights decide which minimum that ends
    in, and --set restarts=3 trains three times and keeps the model of least training loss. --set model=bert reads with a BERT,
    from scratch or from a folder in Hugging Face's layout: --set weights=FOLDER. The words of the reader may start from
    vectors=FILE in the form of word2vec, GloVe or fastText, text or binary.
    """

    name = "answer"
    summary = "answer questions about stories and passages"
    metric = "exact_match"
    prompt = "story"
    options = {
        "task": 1,  # of the built-in stories
        "model": "auto",
        "examples": 20000,  # of the built-in stories
        "batch": 32,
        "lr": 5e-3,
        "hidden_size": 32,  # of the memory network's vectors, or of the reader's LSTMs
        "hops": 3,
        "memory_size": 50,
        "tying": "adjacent",
        "position_encoding": True,
        "position_scale": 1.0,  # of its weights
        "time_noise": 0.1,
        "empty_place": False,  # whether a hop can read nothing
        "linear_start": 0.2,  # part of the budget without a softmax over the memories
        "embedding_size": 64,
        "num_layers": 1,
        "dropout": 0.2,
        "vocab_size": 20000,  # of the reader
        "max_length": 300,  # words of a passage that are read at once
        "answer_length": 15,  # words of an answer at most
        "weights": None,
        **VECTORS,
    }
    least = dict.fromkeys(("examples", "hops", "memory_size", "vocab_size", "max_length", "answer_length"), 1)
    choices = {
        "task": (1, 2, 3),
        "model": ("auto", "memory", "reader", "bert"),
        "tying": ("adjacent", "layerwise"),
    }

    first_word = 1  # 0 is padding
    _fresh = False  # whether the model is to start anew, from pretrained weights perhaps, or to be filled with a run's
    _how: Any = None  # see `_reading`

    # --- data --------------------------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        task = self.options["task"]
        if self.options["model"] in ("auto", "memory"):
            self.suggest(**SUGGESTED[task])
        count = self.options["examples"]
        rng = np.random.default_rng([seed, task])
        train = stories.generate(task, count, rng)
        known = {(story.sentences, story.question) for story in train}
        fresh = [story for story in stories.generate(task, 1000, rng) if (story.sentences, story.question) not in known]
        return self._as_questions(train), self._as_questions(fresh)

    def read(self, path: PathLike) -> tuple[list, list]:
        path = os.fspath(path)
        is_json = path.lower().removesuffix(".gz").endswith(".json") or _holds_json(path)
        if is_json and "memory" in (self.options["model"], self.facts.get("kind")):
            raise ValueError(f"{path}: a memory network answers with a word it knows; passages in JSON want model=reader or bert")
        reader = read_squad if is_json else stories.read_babi
        beside = _beside(path)
        train = reader(path, self.bad_rows)
        if not is_json:
            if self.options["model"] in ("auto", "memory"):
                self.suggest(**REAL)
            self.suggest(steps=self.options["restarts"] * max(1000, PASSES * len(train) // self.options["batch"]))
        if beside is not None:
            return self._as_questions(train), self._as_questions(reader(beside, self.bad_rows))
        cut = len(train) - max(1, len(train) // 10)
        return self._as_questions(train[:cut]), self._as_questions(train[cut:])

    def _as_questions(self, examples):
        """Stories as passages, where a reader is to answer."""
        if not {"reader", "bert"} & {self.options["model"], self.facts.get("kind")}:
            return examples
        passages = []
        for each in examples:
            with self.bad_rows:
                passages.append(of_story(each) if isinstance(each, Story) else each)
        return passages

    def adapt(self, train: Sequence) -> None:
        if isinstance(train[0], Story):
            return
        if self.options["model"] == "bert":
            pretrained = self.options["weights"] is not None
            self.suggest(hidden_size=128, num_layers=2, lr=5e-5 if pretrained else 3e-4, batch=16, warmup=0.1, weight_decay=0.01)
        else:
            self.suggest(hidden_size=64, lr=2e-3)
        self.suggest(steps=max(1000, 3 * len(train) // self.options["batch"]))  # three passes

    # --- the model ---------------------------------------------------------------------------------------------------

    def prepare(self, train: Sequence) -> None:
        self._fresh, self._how = True, None
        kind = "memory" if isinstance(train[0], Story) else "bert" if self.options["model"] == "bert" else "reader"
        self.facts = {"kind": kind}
        if kind == "reader":
            self.vocabularies = {"words": self.word_level(LSTMReading.counts(train, self.options["vocab_size"]), lower=False)}
            self.facts |= self.vector_facts()
            return
        if self.options["vectors"] is not None:
            raise ValueError(f"vectors are of the words that model='reader' reads, got a model of the kind {kind!r}")
        self.vocabularies, more = READINGS[kind].prepared(train, self.options)
        self.facts |= more

    def words_of(self, example: Any) -> list[str]:
        return [word.text for text in (example.passage, example.question) for word in words(text)]

    def make_model(self, seed: int) -> Layer:
        if self.facts["kind"] != "reader":
            return self._reading.make_model(seed)
        V, sizes = self.word_sizes()
        return self.started(self._reading.make_model(seed, V, sizes["fixed_words"]), seed)

    @property
    def _reading(self):
        """How questions become batches, and logits answers."""
        how = self._how
        if how is None or how.facts is not self.facts or how.options is not self.options:  # a restart has options of its own
            self._how = READINGS[self.facts["kind"]](self.vocabularies, self.facts, self.options, self._fresh)
        return self._how

    def length(self, example: Any) -> int:
        return len(example.sentences) if isinstance(example, Story) else len(example.passage)

    def batch(self, examples: Sequence) -> tuple:
        return self._reading.batch(examples)

    # --- answers -----------------------------------------------------------------------------------------------------

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        return self._reading.metrics(self.model, examples)

    def chance(self, examples: Sequence) -> float:
        """The commonest answer; of passages, any one word of the passage."""
        return self._reading.chance(examples)

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:4]
        answers = self._reading.answers(self.model, some)
        return [(_shown(example), _expected(example), answer) for example, answer in zip(some, answers, strict=True)]

    def answer(self, text: str) -> str:
        """The answer to the last sentence of a text, from all before it."""
        return self._reading.answers(self.model, [self._example_of(text)])[0]

    def _example_of(self, text: str) -> Any:
        """The sentences of a text, or the passage that they are, and the question behind them."""
        sentences = [each for each in cutting.sentences(text) if words(each)]
        if len(sentences) < 2:
            raise ValueError("wanted a story and then a question, as in 'Anna went to the attic. Where is Anna?'")
        *story, question = sentences
        return self._reading.example_of(story, text[: text.rindex(question)].strip(), question)

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        return self._reading.explained(self.model, self._example_of(text), text, answer, foil)

    def ask(self, read: Callable[[str], str]) -> str:
        lines: list[str] = []
        while not lines or not lines[-1].rstrip().endswith("?"):
            lines.append(read(f"{self.prompt}: " if not lines else "  ... or the question: "))
            if not lines[-1].strip():
                return ""
        return "\n".join(lines)

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        return self._reading.pictures(self.model, folder, examples)


def _holds_json(path: str) -> bool:
    """Whether a file begins as a JSON object does, whatever its name: it may have come through a pipe."""
    first = next(lines(path), None)
    return first is not None and first.content.lstrip().startswith(b"{")


def _beside(path: str) -> str | None:
    """The validation part that belongs to a training part, by its name."""
    folder, name = os.path.split(path)
    for train, other in PARTS:
        if train in name:
            near = os.path.join(folder, name.replace(train, other))
            if os.path.exists(near):
                return near
    return None


def _shown(example) -> str:
    text = " ".join(example.sentences[-12:]) if isinstance(example, Story) else example.passage
    return f"{text if len(text) <= 700 else text[:700] + ' ...'}\n{example.question}"


def _expected(example) -> str:
    return example.answer.lower() if isinstance(example, Story) else example.answers[0]
