"""The recipe `answer`: questions about stories, by a memory network, and about passages, by a span reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, models, tokenizers
from minilm.data.lines import lines
from minilm.files import written_whole
from minilm.layers.base import Layer
from minilm.metrics.accuracy import accuracy, commonest
from minilm.metrics.squad import exact_match, scores
from minilm.recipes import cutting, stories
from minilm.recipes.base import Recipe
from minilm.recipes.padding import side_by_side
from minilm.recipes.reading import BERTReading, LSTMReading
from minilm.recipes.squad import Question, of_story, read_squad, words
from minilm.recipes.stories import Story, words_of
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["Answer"]

SUGGESTED: dict[int, dict] = {  # for the built-in tasks
    1: {"steps": 3000},
    2: {"steps": 20000},
    3: {"steps": 30000, "examples": 100000, "hidden_size": 64, "hops": 4, "time_noise": 0.02},
}
PACE = 150  # steps a second, about, where a budget in minutes must be split before anything is known
PASSES = 100  # over real stories, where nobody says how long to train
REAL = {  # for real stories, nearly as the network's authors train: the linear start and the restarts rest on these
    "optimizer": "sgd",
    "lr": 0.32,
    "hidden_size": 20,
    "position_scale": 2.0,
    "empty_place": True,
}
CHUNK = 100  # questions that are answered side by side
PARTS = ("train", "test"), ("train", "dev"), ("train", "valid")  # names of parts that belong together


class Answer(Recipe):
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
    from scratch or from a folder in Hugging Face's layout: --set weights=FOLDER.
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
    }
    least = dict.fromkeys(("examples", "hops", "memory_size", "vocab_size", "max_length", "answer_length"), 1)
    choices = {
        "task": (1, 2, 3),
        "model": ("auto", "memory", "reader", "bert"),
        "tying": ("adjacent", "layerwise"),
    }

    _fresh = False  # whether the model is to start anew, from pretrained weights perhaps, or to be filled with a run's

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
        if is_json and self.options["model"] == "memory":
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
        if self.options["model"] not in ("reader", "bert"):
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
        self._fresh, self._known = True, {}
        if isinstance(train[0], Story):
            counted = sorted({word for story in train for text in (*story.sentences, story.question) for word in words_of(text)})
            known = sorted({*counted, *(story.answer.lower() for story in train)})
            self.vocabularies = {"words": tokenizers.WordLevel(known, split="spaces", eos_token=None)}
            self.facts = {"kind": "memory", "answers": sorted({story.answer.lower() for story in train})}
            return
        kind = BERTReading if self.options["model"] == "bert" else LSTMReading
        self.facts = {"kind": "bert" if kind is BERTReading else "reader"}
        self.vocabularies, more = kind.prepared(train, self.options)
        self.facts.update(more)

    def make_model(self, seed: int) -> Layer:
        options = self.options
        if self.facts["kind"] == "memory":
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
        return self._reading.make_model(seed)

    @property
    def _reading(self):
        """How passages and questions become batches, and logits spans."""
        kind = BERTReading if self.facts["kind"] == "bert" else LSTMReading
        return kind(self.vocabularies, self.facts, self.options, self._fresh)

    def length(self, example: Any) -> int:
        return len(example.sentences) if isinstance(example, Story) else len(example.passage)

    def batch(self, examples: Sequence) -> tuple:
        if self.facts["kind"] != "memory":
            return self._reading.batch(examples)
        story, question = self._arrays(examples)
        return story, question, np.array([self._id(example.answer) for example in examples])

    def _id(self, word: str) -> int:
        return int(self.vocabularies["words"].encode(word.lower())[0]) + 1  # 0 is padding

    def _ids(self, sentence: str) -> np.ndarray:
        """A sentence's words; few sentences are many stories, so they are kept."""
        kept = self.__dict__.setdefault("_known", {})
        if sentence not in kept:
            kept[sentence] = self.vocabularies["words"].encode(" ".join(words_of(sentence))).astype(np.int64) + 1
        return kept[sentence]

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

    def _answers(self, examples) -> tuple[list[str], list[np.ndarray]]:
        """An answer to each question, and of a memory network where its hops looked, (K, M) each."""
        answers: list[str] = []
        looked: list[np.ndarray] = []
        for start in range(0, len(examples), CHUNK):
            part = examples[start : start + CHUNK]
            if self.facts["kind"] != "memory":
                answers += self._reading.answers(self.model, part)
                continue
            reading = devices.to_host(self.model.read(*self.on_device(self._arrays(part))))
            among = np.array([self._id(word) for word in self.facts["answers"]])  # (A,)
            answers += [self.facts["answers"][i] for i in reading.logits[:, among].argmax(axis=1)]
            looked += list(reading.attention)
        return answers, looked

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        answers, looked = self._answers(examples)
        if self.facts["kind"] != "memory":
            return scores(answers, [example.answers for example in examples])
        result = {"exact_match": accuracy([example.answer.lower() for example in examples], answers)}
        known = [(each.support, len(each.sentences), p) for each, p in zip(examples, looked, strict=True) if each.support]
        if known:  # whether some hop looked most at a sentence that the answer rests on
            most = self.options["memory_size"]
            hits = [bool({int(i) + max(0, n - most) for i in p.argmax(axis=1)} & set(support)) for support, n, p in known]
            result["support_seen"] = sum(hits) / len(hits)
        return result

    def chance(self, examples: Sequence) -> float:
        """The commonest answer; of passages, any one word of the passage."""
        if self.facts["kind"] == "memory":
            return commonest([example.answer for example in examples])
        hits = []
        for example in examples:
            among = words(example.passage)
            hits.append(sum(exact_match(word.text, example.answers) for word in among) / max(1, len(among)))
        return float(np.mean(hits))

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        some = examples[:4]
        answers, _ = self._answers(some)
        return [(_shown(example), _expected(example), answer) for example, answer in zip(some, answers, strict=True)]

    def answer(self, text: str) -> str:
        """The answer to the last sentence of a text, from all before it."""
        story, passage, question = self._parted(text)
        if self.facts["kind"] != "memory":
            return self._answers([Question(passage, question, ("",), 0)])[0][0]
        return self._answers([Story(story, question, "", ())])[0][0]

    def _parted(self, text: str) -> tuple[tuple[str, ...], str, str]:
        """The sentences of a story, the same as a passage, and the question behind them; ValueError for words not known."""
        sentences = [each for each in cutting.sentences(text) if words(each)]
        if len(sentences) < 2:
            raise ValueError("wanted a story and then a question, as in 'Anna went to the attic. Where is Anna?'")
        *story, question = sentences
        passage = text[: text.rindex(question)].strip()
        if self.facts["kind"] != "memory":
            return tuple(story), passage, question
        known = self.vocabularies["words"]
        unknown = dict.fromkeys(word for each in sentences for word in words_of(each) if known.token_to_id(word) is None)
        if unknown:
            raise ValueError(f"the model knows no {', '.join(map(repr, unknown))}; it learned {len(known.vocabulary)} words")
        return tuple(story), passage, question

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        story, passage, question = self._parted(text)
        if self.facts["kind"] != "memory":
            return self._reading.explained(self.model, Question(passage, question, ("",), 0), text, answer, foil)
        from minilm.interpret.tasks import explain_story

        story = story[-self.options["memory_size"] :]
        arrays = (each[0] for each in self._arrays([Story(story, question, "", ())]))
        answers = [(word, self._id(word)) for word in self.facts["answers"]]
        return explain_story(self.model, *arrays, story, answers, text=text, answer=answer, foil=foil)

    def ask(self, read: Callable[[str], str]) -> str:
        lines: list[str] = []
        while not lines or not lines[-1].rstrip().endswith("?"):
            lines.append(read(f"{self.prompt}: " if not lines else "  ... or the question: "))
            if not lines[-1].strip():
                return ""
        return "\n".join(lines)

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        """hops.png: where each hop of the memory network looked, for three stories."""
        if self.facts["kind"] != "memory":
            return []
        from matplotlib.figure import Figure

        some = sorted(examples[:40], key=lambda story: abs(len(story.sentences) - 10))[:3]
        answers, looked = self._answers(some)
        figure = Figure(figsize=(9, sum(1.2 + 0.24 * p.shape[1] for p in looked)), dpi=120, layout="constrained")
        every = figure.subplots(len(some), 1, squeeze=False, height_ratios=[1.2 + 0.24 * p.shape[1] for p in looked])[:, 0]
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
        path = os.path.join(folder, "hops.png")
        with written_whole(path) as file:
            figure.savefig(file, format="png")
        return [path]


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
