"""Reading a folder: the model of a run, or one that others trained, and what belongs to it."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from minilm import models, quantized, tokenizers
from minilm.files import json_object
from minilm.hub import model_folder
from minilm.layers.loading import blank
from minilm.layers.summary import in_a_line
from minilm.quantized.reading import fill, stored_as
from minilm.tokenizers import Tokenizer, Word
from minilm.training.checkpoint import STATE, Checkpoint
from minilm.training.config import RunConfig
from minilm.training.state import TrainingState
from minilm.typing import PathLike
from minilm.weights import TensorFile
from minilm.weights.config import FAMILIES, config_content, family_of
from minilm.weights.folder import instead, refuse_adapter
from minilm.weights.gguf import GGUFFile, is_gguf

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["Run", "checked_tokenizer", "is_published", "language_model", "load_run", "load_weights", "without_warnings"]

HEAD = "cls.predictions."  # of a BERT that guesses masked tokens


class Run(NamedTuple):
    """What a run's folder holds."""

    folder: str
    model: Any  # a model of minilm.models, with the weights to use
    tokenizer: Any
    config: RunConfig | None  # None, and so is `state`, where the folder holds a model only
    state: TrainingState | None

    def __repr__(self) -> str:
        steps = "" if self.state is None else f", {self.state.step:,} steps"
        return f"Run({self.folder!r}: {in_a_line(self.model)}{steps})"


def load_run(folder: PathLike, *, quantize: str | None = None) -> Run:
    """Load the model and tokenizer of a run, whether it has ended or not.

    Parameters
    ----------
    folder : str or os.PathLike
        What ``minilm train --out`` named. Also a folder with config.json, model.safetensors and tokenizer.json alone; and a
        published language model's, in Hugging Face's layout, or its name on the Hub (see `minilm.hub`); and a GGUF file of
        Llama's family. ``~`` is one's home.
    quantize : {"int8", "bf16", "int4"}, optional
        The format in which the model shall have its weights, see `minilm.quantized`; of a GGUF file its own blocks, where they
        have that format. Without it they are as the folder has them, of a GGUF file float32.

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
    if is_gguf(os.path.expanduser(folder)):
        return _gguf(os.path.expanduser(os.fspath(folder)), quantize)
    run = _load(folder)
    if quantize is not None:
        quantized.quantize(run.model, quantize)
    return run


def _load(folder: PathLike) -> Run:
    """`load_run` of a folder, as it is."""
    folder = model_folder(folder)
    trained = os.path.exists(os.path.join(folder, STATE))
    if not trained and not os.path.exists(os.path.join(folder, "config.json")):
        refuse_adapter(folder)
        raise FileNotFoundError(f"there is no run in {folder}: it has no {STATE}{instead(folder)}")
    if not trained and is_published(folder):
        return Run(folder, *language_model(folder), None, None)
    if not trained and _plain_model(folder):
        refuse_others(folder)
        contents, config, state = {"config.json": _content(folder, "config.json")}, None, None
        contents["model.safetensors"] = open_weights(os.path.join(folder, "model.safetensors"))
        tokenizer = tokenizers.load(os.path.join(folder, "tokenizer.json"))
    else:
        try:
            checkpoint = Checkpoint.read(folder, ("config.json", "tokenizer.json", "model.safetensors"))
        except ValueError as error:
            raise ValueError(f"{error}{_other_model(folder)}") from None
        contents, config, state = checkpoint.contents, checkpoint.state.config, checkpoint.state
        tokenizer = tokenizer_of(folder, contents["tokenizer.json"])
    weights = contents["model.safetensors"]
    model = model_of(folder, contents["config.json"], weights)
    load_weights(model, weights)
    pretrained = stored_as(weights) is not None if config is None else config.init_from is not None  # it may have more ids
    if tokenizer.vocab_size > model.config.vocab_size or (tokenizer.vocab_size < model.config.vocab_size and not pretrained):
        raise ValueError(
            f"{os.path.join(folder, 'tokenizer.json')} has {tokenizer.vocab_size} tokens, "
            f"the model in config.json {model.config.vocab_size}: they are not of one run"
        )
    return Run(folder, model, tokenizer, config, state)


def model_of(folder: str, content: bytes, weights: TensorFile):
    """The model of config.json, whose weights fit it and are still to be loaded."""
    path = os.path.join(folder, "config.json")
    settings = json_object(path, content)
    try:
        with blank(weights):
            model = models.from_config(settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    if stored_as(weights) is None:
        with _of_one_model(weights):
            model.parameters.fitting(weights.arrays())
    return model


def load_weights(model: LanguageModel, file: TensorFile) -> None:
    """Put the weights of a safetensors file into the model, and close it; ValueError, naming it, if they do not fit."""
    with file:
        if stored_as(file) is not None:
            fill(model, file)
            return
        with _of_one_model(file):
            model.parameters.load_state_dict(file.arrays())


@contextlib.contextmanager
def _of_one_model(file: TensorFile):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file.path} is a checkpoint of another model: {error}") from None


def open_weights(path: str) -> TensorFile:
    """A safetensors file; ValueError, naming it, if it is not whole."""
    try:
        return TensorFile(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {str(error).removeprefix(f'{path}: ')}") from None


def tokenizer_of(folder: str, content: bytes, name: str = "tokenizer.json"):
    """The tokenizer of a tokenizer.json whose checksum was right."""
    path = os.path.join(folder, name)
    fields = json_object(path, content)
    if "type" not in fields:  # in Hugging Face's form, which may need the files beside it
        return tokenizers.load(path)
    return tokenizers.files.tokenizer_of(path, fields, tokenizers.CLASSES)


def refuse_others(folder: str) -> None:
    """ValueError where a folder holds a recipe's model, or an encoder-decoder: it says what takes it."""
    recipe = config_content(folder).get("recipe")
    if recipe is not None:
        raise ValueError(
            f"{folder} holds a model of the recipe {recipe}: wanted a language model; `minilm try {folder}` takes it"
        )
    if os.path.exists(os.path.join(folder, "source.json")):
        raise ValueError(
            f"{folder} holds an encoder-decoder: wanted a language model; generate, evaluate, try, explain and serve take it"
        )


def _plain_model(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, "model.safetensors")) and os.path.exists(os.path.join(folder, "config.json"))


def _content(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _other_model(folder: str) -> str:
    """What to add where model.safetensors is a whole file with other names or shapes than config.json says."""
    try:
        with TensorFile(os.path.join(folder, "model.safetensors")) as weights:
            model_of(folder, _content(folder, "config.json"), weights)
    except (OSError, ValueError) as error:
        return f"; {error}" if "another model" in str(error) else ""
    return ""


def _gguf(path: str, quantize: str | None) -> Run:
    """The model of a GGUF file, and its tokenizer."""
    from minilm.tokenizers.gguf import tokenizer_of_gguf

    with GGUFFile(path) as file:
        try:
            tokenizer = tokenizer_of_gguf(file.settings)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return Run(path, models.Llama.from_gguf(path, quantize=quantize), tokenizer, None, None)


# --- models that others trained -------------------------------------------------------------------------------------------


def is_published(folder: PathLike) -> bool:
    """Whether the config.json of a folder is a published model's, and none that minilm's own training or recipes wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        There is none, or it is damaged: in one line that says what lies there instead.
    """
    config = config_content(folder)
    if "recipe" in config or "recompute" in config:  # which no model of transformers has
        return False
    return config.get("model_type", "bert") in FAMILIES or "architectures" in config


def language_model(folder: str) -> tuple[LanguageModel, Tokenizer | Word]:
    """The GPT, Llama or BERT of a folder, ready to predict tokens, and its tokenizer.

    Raises
    ------
    FileNotFoundError, ValueError
        Something is missing or damaged, or the model is of another kind: in one line.
    """
    config = config_content(folder)
    try:
        family = family_of(config, ())
    except ValueError as error:
        raise ValueError(f"{os.path.join(folder, 'config.json')}: {error}") from None
    kinds = (models.BERTForPreTraining, models.GPT, models.Llama)
    model = without_warnings(next(kind for kind in kinds if family in kind.hugging_face), folder)
    if any(name.startswith(HEAD) for name in model.new_parameters):
        architecture = (config.get("architectures") or ["model without a head"])[0]
        raise ValueError(f"{folder} holds a {architecture}, which predicts no tokens: its weights lack {HEAD}*")
    return model, checked_tokenizer(folder, model)


def without_warnings(kind: type, folder: str) -> Any:
    """``kind.from_pretrained(folder)``, whose caller looks himself at what the folder lacks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return kind.from_pretrained(folder)


def checked_tokenizer(folder: str, model: LanguageModel) -> Tokenizer | Word:
    """The tokenizer of a model's folder; ValueError if it has ids that the model lacks. The model may have more."""
    tokenizer = tokenizers.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, and the model {model.config.vocab_size}")
    return tokenizer
