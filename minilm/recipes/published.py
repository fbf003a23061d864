"""What a published model answers to a text that somebody types: `minilm try` on a folder in Hugging Face's layout.

::

    GPT2LMHeadModel, OpenAIGPTLMHeadModel       the text, continued
    BertForMaskedLM, BertForPreTraining         the most probable tokens at each [MASK]
    BertForSequenceClassification               a label and its probability, or several
    BertForTokenClassification                  a label for each word; entities in brackets
    BertForQuestionAnswering                    the part of a passage that answers the question after it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices, generation, models
from minilm.metrics.entities import is_tag
from minilm.mistaken import did_you_mean
from minilm.ops import sigmoid, softmax
from minilm.recipes import cutting, registry
from minilm.recipes.tag import bracketed
from minilm.training.run import checked_tokenizer, language_model, without_warnings
from minilm.weights import config_content

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions

__all__ = ["is_task", "open_published"]

TOKENS = 100  # of a continuation


class Trial:
    """A model that answers texts; `minilm.recipes.base.Recipe` has the same two methods."""

    prompt = "text"

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def ask(self, read) -> str:
        """One input; ``read(prompt)`` reads a line and raises EOFError at the end."""
        return read(f"{self.prompt}: ")

    def answer(self, text: str) -> str:
        """What the model says."""
        raise NotImplementedError(f"{type(self).__name__} has no answer")

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        """Why the model answers so; see `minilm.recipes.base.Recipe.explain`."""
        raise ValueError("`minilm explain` takes a language model's folder itself")

    def _names(self, count: int) -> list[str]:
        """The labels' names."""
        return self.model.published.labels or [f"LABEL_{i}" for i in range(count)]

    def _logits(self, pair) -> np.ndarray:
        """The model's logits for what ``encode_pair`` gave, (C,) or (T, C)."""
        rows = [each[None].astype(np.int64) for each in (pair.input_ids, pair.token_type_ids)]  # (1, T) each
        return devices.to_host(self.model.logits(*devices.to(self.model.device, rows)))[0].astype(np.float64)

    def _encoded(self, text):
        longest = self.model.config.max_position_embeddings
        return self.tokenizer.encode_pair(text, max_length=longest)


class Continued(Trial):
    """A GPT's."""

    def answer(self, text):
        return text + generation.generate(self.model, self.tokenizer, text, TOKENS, top_p=0.9)


class Filled(Trial):
    """The trial of a BERT that guesses masked tokens."""

    prompt = "text with [MASK]"

    def answer(self, text):
        masks = generation.fill_mask(self.model, self.tokenizer, text)
        return "\n".join("   ".join(f"{each.token} ({each.probability:.1%})" for each in mask) for mask in masks)


class Labelled(Trial):
    """The trial of a BERT that labels texts: by probabilities that sum to one, or each label by its own."""

    def answer(self, text):
        x, published = self._logits(self._encoded(text)), self.model.published  # (C,)
        names, problem = self._names(len(x)), published.config.get("problem_type")
        if problem == "regression":
            return "   ".join(f"{value:.4g}" for value in x)
        several = problem == "multi_label_classification" or len(x) == 1
        p = sigmoid.forward(x)[0] if several else softmax.forward(x[None])[0][0]  # (C,)
        order = np.argsort(-p, kind="stable")
        shown = [i for i in order if p[i] >= 0.5] or order[:1] if several else order[:1]
        return "   ".join(f"{names[i]} ({p[i]:.1%})" for i in shown)

    def explain(self, text, *, answer=None, foil=None):
        from minilm.interpret.tasks import explain_label

        pair, names = self._encoded(text), self._names(self.model.config.num_labels)
        problem = self.model.published.config.get("problem_type")
        if problem in ("regression", "multi_label_classification") or len(names) == 1:
            raise ValueError(f"a model with one label a text is explained, got one of {problem or 'one output'}")
        numbers = {name: _number(names, name) for name in (answer, foil) if name is not None}
        pieces = [self.tokenizer.id_to_token(int(id)) for id in pair.input_ids]
        options = {"answer": numbers.get(answer), "foil": numbers.get(foil)}
        return explain_label(self.model, pair.input_ids.astype(np.int64), pieces, names, text=text, **options)


class Tagged(Trial):
    """The trial of a BERT that labels tokens: a word has the label of its first piece."""

    def answer(self, text):
        if not cutting.words(text):
            return ""
        pair, words, places = self._read(text)
        x = self._logits(pair)  # (T, C)
        names = self._names(x.shape[1])
        return _shown(words, [names[i] for i in x[places].argmax(axis=1)])

    def _read(self, text):
        """The text's pieces, the words that they hold, and the place of each one's first piece."""
        words = cutting.words(text)
        if not words:
            raise ValueError("wanted a sentence, got a text without a word")
        pair = self._encoded(words)
        numbers, first = np.unique(pair.word_ids, return_index=True)
        return pair, [words[number] for number in numbers[numbers >= 0]], first[numbers >= 0]

    def explain(self, text, *, answer=None, foil=None):
        from minilm.interpret.tasks import explain_token_labels

        pair, words, places = self._read(text)
        names = self._names(self.model.config.num_labels)
        tags = [names[i] for i in self._logits(pair)[places].argmax(axis=1)] if answer is None else answer.split()
        if len(tags) != len(words):
            raise ValueError(f"the answer must be a label for each of the {len(words)} words, got {len(tags)}")
        chosen = [_number(names, tag) for tag in tags]
        pieces = [self.tokenizer.id_to_token(int(id)) for id in pair.input_ids]
        options = {"chosen": chosen, "foil": None if foil is None else _number(names, foil)}
        ids = pair.input_ids.astype(np.int64)
        return explain_token_labels(
            self.model, ids, pieces, words, places, names, text=text, answer=_shown(words, tags), **options
        )


def _number(names: list[str], name: str) -> int:
    if name not in names:
        raise ValueError(f"there is no label {name!r}; {did_you_mean(name, names)}")
    return names.index(name)


def _shown(words: list[str], tags: list[str]) -> str:
    """Words with their tags: entities in brackets, or each word's tag behind it."""
    if all(map(is_tag, tags)):
        return bracketed(words, tags)
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))


def _answering(model, tokenizer):
    """The recipe `answer`, with a model that was trained elsewhere."""
    recipe = registry.load("answer")(model="bert")
    recipe.model, recipe.vocabularies = model, {"pieces": tokenizer}
    recipe.facts = {"kind": "bert", "config": model.config.to_dict()}
    return recipe


TASKS: dict[str, tuple[Any, Any]] = {  # class of transformers -> ours, and what answers with it
    "BertForSequenceClassification": (models.BERTForSequenceClassification, Labelled),
    "BertForTokenClassification": (models.BERTForTokenClassification, Tagged),
    "BertForQuestionAnswering": (models.BERTForQuestionAnswering, _answering),
}


def is_task(folder: str) -> bool:
    """Whether a folder holds a published model that answers a task: a label, tags, a span."""
    try:
        return next(iter(config_content(folder).get("architectures") or ()), None) in TASKS
    except (OSError, ValueError, TypeError):
        return False  # what is wrong, what reads the folder says


def open_published(folder: str, device: str = "cpu") -> Any:
    """What answers texts by the model of a folder, for the task that its config.json names.

    Raises
    ------
    FileNotFoundError, ValueError
        Something is missing or damaged, or the model is for no task here: in one line.
    """
    architecture = next(iter(config_content(folder).get("architectures") or ()), None)
    if architecture not in TASKS:
        model, tokenizer = language_model(folder)
        kind = Filled if model.objective == "masked" else Continued
    else:
        model_class, kind = TASKS[architecture]
        model = without_warnings(model_class, folder)
        if model.new_parameters:
            raise ValueError(f"{folder} should hold a {architecture}, and its weights lack {', '.join(model.new_parameters)}")
        tokenizer = checked_tokenizer(folder, model)
    return kind(model.to(device), tokenizer)
