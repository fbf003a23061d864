"""Models that others trained: a language model and its tokenizer from a folder in Hugging Face's layout."""

from __future__ import annotations

import os
import warnings

from minilm import models, tokenizers
from minilm.weights.config import SIZES, config_content, family_of

__all__ = ["checked_tokenizer", "is_published", "language_model", "without_warnings"]

HEAD = "cls.predictions."  # of a BERT that guesses masked tokens


def is_published(folder) -> bool:
    """Whether the config.json of a folder is a published model's, and none that minilm's own training or recipes wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        There is none, or it is damaged: in one line that says what lies there instead.
    """
    config = config_content(folder)
    if "recipe" in config or "recompute" in config:  # which no model of transformers has
        return False
    return config.get("model_type", "bert") in SIZES or "architectures" in config


def language_model(folder: str):
    """The GPT or BERT of a folder, ready to predict tokens, and its tokenizer.

    Raises
    ------
    FileNotFoundError, ValueError
        Something is missing or damaged, or the model is of another kind: in one line.
    """
    config = config_content(folder)
    try:
        kind = models.BERTForPreTraining if family_of(config, ()) == "bert" else models.GPT
    except ValueError as error:
        raise ValueError(f"{os.path.join(folder, 'config.json')}: {error}") from None
    model = without_warnings(kind, folder)
    if any(name.startswith(HEAD) for name in model.new_parameters):
        architecture = (config.get("architectures") or ["model without a head"])[0]
        raise ValueError(f"{folder} holds a {architecture}, which predicts no tokens: its weights lack {HEAD}*")
    return model, checked_tokenizer(folder, model)


def without_warnings(kind, folder: str):
    """``kind.from_pretrained(folder)``, whose caller looks himself at what the folder lacks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return kind.from_pretrained(folder)


def checked_tokenizer(folder: str, model):
    """The tokenizer of a model's folder; ValueError if it has ids that the model lacks. The model may have more."""
    tokenizer = tokenizers.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, and the model {model.config.vocab_size}")
    return tokenizer
