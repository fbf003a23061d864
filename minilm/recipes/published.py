"""What a published model answers to a text that somebody types: `minilm try` on a folder in Hugging Face's layout.

::

    GPT2LMHeadModel, OpenAIGPTLMHeadModel       the text, continued
    BertForMaskedLM, BertForPreTraining         the most probable tokens at each [MASK]
    BertForSequenceClassification               a label and its probability, or several
    BertForTokenClassification                  a label for each word; entities in brackets
    BertForQuestionAnswering                    the part of a passage that answers the question after it
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices, generation, models
from minilm.metrics.entities import is_tag
from minilm.ops import sigmoid, softmax
from minilm.recipes import cutting, registry
from minilm.recipes.tag import bracketed
from minilm.training.run import checked_tokenizer, language_model, without_warnings
from minilm.weights import config_content

__all__ = ["open_published"]

TOKENS = 100  # of a continuation


class Trial:
    """A model that answers texts; `minilm.recipes.Recipe` has the same two methods."""

    prompt = "text"

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def ask(self, read) -> str:
        """One input; ``read(prompt)`` reads a line and raises EOFError at the end."""
        return read(f"{self.prompt}: ")

    def answer(self, text: str) -> str:
        """What the model says."""
        raise NotImplementedError(f"{type(self).__name__} has no answer")

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
    """Of a BERT that guesses masked tokens."""

    prompt = "text with [MASK]"

    def answer(self, text):
        masks = generation.fill_mask(self.model, self.tokenizer, text)
        return "\n".join("   ".join(f"{each.token} ({each.probability:.1%})" for each in mask) for mask in masks)


class Labelled(Trial):
    """Of a BERT that labels texts: by probabilities that sum to one, or, where several labels may hold, each by its own."""

    def answer(self, text):
        x, published = self._logits(self._encoded(text)), self.model.published  # (C,)
        names, problem = published.labels or [f"LABEL_{i}" for i in range(len(x))], published.config.get("problem_type")
        if problem == "regression":
            return "   ".join(f"{value:.4g}" for value in x)
        several = problem == "multi_label_classification" or len(x) == 1
        p = sigmoid.forward(x)[0] if several else softmax.forward(x[None])[0][0]  # (C,)
        order = np.argsort(-p, kind="stable")
        shown = [i for i in order if p[i] >= 0.5] or order[:1] if several else order[:1]
        return "   ".join(f"{names[i]} ({p[i]:.1%})" for i in shown)


class Tagged(Trial):
    """Of a BERT that labels tokens: a word has the label of its first piece."""

    def answer(self, text):
        words = cutting.words(text)
        if not words:
            return ""
        pair = self._encoded(words)
        x = self._logits(pair)  # (T, C)
        names = self.model.published.labels or [f"LABEL_{i}" for i in range(x.shape[1])]
        numbers, first = np.unique(pair.word_ids, return_index=True)
        tags = [names[i] for i in x[first[numbers >= 0]].argmax(axis=1)]
        words = [words[number] for number in numbers[numbers >= 0]]
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
