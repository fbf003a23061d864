"""Fine-tuning: what a run with ``init_from`` starts from, the weights and the tokenizer of a folder and nothing else of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from minilm import models, tokenizers
from minilm.files import read_json
from minilm.hub import model_folder
from minilm.models.pretrained import config_from
from minilm.quantized.storing import refuse_quantized_folder
from minilm.tokenizers import Tokenizer
from minilm.training.build import make_model
from minilm.training.config import RunConfig
from minilm.training.run import is_published, load_run, refuse_others
from minilm.training.sections import TokenizerConfig
from minilm.typing import PathLike
from minilm.weights import read_config

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["Start", "initial_settings", "start_of"]

KINDS: dict[type, str] = {  # class of tokenizer -> tokenizer.kind
    tokenizers.Character: "character",
    tokenizers.WordLevel: "word",
    tokenizers.WordPiece: "wordpiece",
    tokenizers.ByteLevelBPE: "bpe",
    tokenizers.GPT1BPE: "bpe",
}
FREE = ("dropout", "pdrop", "recompute", "variational")  # parts of the names of settings that the weights do not depend on


class Start(NamedTuple):
    """A model with its weights, and its tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer


def initial_settings(folder: PathLike) -> dict[str, Any]:
    """The sections "model" and "tokenizer" of a run that starts from a folder, as `RunConfig` has them.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder holds no language model.
    """
    folder = model_folder(folder)
    if is_published(folder):
        settings = config_from(read_config(folder)).to_dict()
    else:
        refuse_others(folder)
        settings = models.config_of(read_json(os.path.join(folder, "config.json"))).to_dict()
    del settings["vocab_size"]
    return {"model": settings, "tokenizer": {"kind": _kind(folder, tokenizers.load(folder))}}


def _kind(folder: str, tokenizer: Any) -> str:
    if type(tokenizer) not in KINDS:
        raise ValueError(f"{folder}: a run cannot go on with a tokenizer of the class {type(tokenizer).__name__}")
    return KINDS[type(tokenizer)]


def start_of(config: RunConfig) -> Start | None:
    """The model that a run starts from, with the weights of ``config.init_from``; None where that is None.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder holds no language model, or another one than the configuration says.
    """
    if config.init_from is None:
        return None
    folder = model_folder(config.init_from)
    refuse_quantized_folder(folder, "trained further")
    parent = load_run(folder)
    if config.tokenizer != TokenizerConfig(_kind(parent.folder, parent.tokenizer)):
        raise ValueError(f"the tokenizer is that of init_from, {config.init_from}: leave out tokenizer.*, got {config.tokenizer}")
    model = make_model(config, parent.model.config.vocab_size)
    before, after = parent.model.config.to_dict(), model.config.to_dict()
    for name in {**before, **after}:
        if before.get(name) != after.get(name) and not any(part in name for part in FREE):
            came = f"model.{name} is {after.get(name)!r}, and {before.get(name)!r}"
            raise ValueError(f"a run has the model that it starts from: {came} in {config.init_from}")
    model.parameters.load_state_dict(parent.model.parameters.state_dict())
    return Start(model, parent.tokenizer)
