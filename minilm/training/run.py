"""Reading a folder: the model of a run, or one that others trained, and what belongs to it."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, NamedTuple

from minilm import models, tokenizers
from minilm.layers.base import blank
from minilm.mistaken import existing_folder, mistaken_for
from minilm.training import tensors
from minilm.training.checkpoint import STATE, Checkpoint
from minilm.training.config import RunConfig
from minilm.training.state import TrainingState
from minilm.weights.config import SIZES, config_content, family_of
from minilm.weights.folder import instead, refuse_adapter

__all__ = ["Run", "checked_tokenizer", "is_published", "language_model", "load_run", "load_weights", "without_warnings"]

HEAD = "cls.predictions."  # of a BERT that guesses masked tokens


class Run(NamedTuple):
    """What a run's folder holds."""

    folder: str
    model: Any  # a model of minilm.models, with the weights to use
    tokenizer: Any
    config: RunConfig | None  # None, and so is `state`, where the folder holds a model only
    state: TrainingState | None


def load_run(folder) -> Run:
    """Load the model and tokenizer of a run, whether it has ended or not.

    Parameters
    ----------
    folder : str or os.PathLike
        What ``minilm train --out`` named. Also a folder with config.json, model.safetensors and tokenizer.json alone; and a
        published language model's, in Hugging Face's layout. ``~`` is one's home.

    Returns
    -------
    Run
        ``model, tokenizer, config, state``, and the folder. Nothing is written, so a run may be looked at while it trains.

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is not there.
    ValueError
        A file is damaged, holds unknown keys, or is a checkpoint of another model; says which, what came and what was wanted.
    """
    folder = existing_folder(folder)
    trained = os.path.exists(os.path.join(folder, STATE))
    if not trained and not os.path.exists(os.path.join(folder, "config.json")):
        refuse_adapter(folder)
        raise FileNotFoundError(f"there is no run in {folder}: it has no {STATE}{instead(folder)}")
    if not trained and is_published(folder):
        return Run(folder, *language_model(folder), None, None)
    if not trained and _plain_model(folder):
        contents, config, state = {name: _content(folder, name) for name in ("config.json", "model.safetensors")}, None, None
        tokenizer = tokenizers.load(os.path.join(folder, "tokenizer.json"))
    else:
        try:
            checkpoint = Checkpoint.read(folder, ("config.json", "tokenizer.json", "model.safetensors"))
        except ValueError as error:
            raise ValueError(f"{error}{_other_model(folder)}") from None
        contents, config, state = checkpoint.contents, checkpoint.state.config, checkpoint.state
        tokenizer = tokenizer_of(folder, contents["tokenizer.json"])
    model = model_of(folder, contents["config.json"])
    load_weights(model, os.path.join(folder, "model.safetensors"), contents["model.safetensors"])
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"{os.path.join(folder, 'tokenizer.json')} has {tokenizer.vocab_size} tokens, "
            f"the model in config.json {model.config.vocab_size}: they are not of one run"
        )
    return Run(folder, model, tokenizer, config, state)


def model_of(folder: str, content: bytes):
    """The model of config.json, its weights still to be loaded."""
    path = os.path.join(folder, "config.json")
    try:
        settings = json.loads(content.decode("utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"wanted a JSON object, got {type(settings).__name__}")
        with blank():
            return models.from_config(settings)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def load_weights(model, path: str, content: bytes) -> None:
    """Put the weights of a safetensors file into the model; ValueError, naming the file, if they do not fit."""
    try:
        arrays = tensors.read(content)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {mistaken_for(content) or error}") from None
    try:
        model.parameters.load_state_dict(arrays)
    except ValueError as error:
        raise ValueError(f"{path} is a checkpoint of another model: {error}") from None


def tokenizer_of(folder: str, content: bytes, name: str = "tokenizer.json"):
    """The tokenizer of a tokenizer.json whose checksum was right."""
    path, fields = os.path.join(folder, name), json.loads(content)
    if "type" not in fields:  # in Hugging Face's form, which may need the files beside it
        return tokenizers.load(path)
    return tokenizers.base.from_fields(path, fields, tokenizers.CLASSES)


def _plain_model(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "model.safetensors")) and os.path.exists(os.path.join(folder, "config.json"))


def _content(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _other_model(folder: str) -> str:
    """What to add where model.safetensors is a whole file with other names or shapes than config.json says."""
    try:
        model = model_of(folder, _content(folder, "config.json"))
        content = _content(folder, "model.safetensors")
        tensors.read(content)
    except (OSError, ValueError):
        return ""
    try:
        load_weights(model, "it", content)
    except ValueError as error:
        return f"; {error}"
    return ""


# --- models that others trained -------------------------------------------------------------------------------------------


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
