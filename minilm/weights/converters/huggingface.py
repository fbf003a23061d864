"""A folder as Hugging Face lays it out: config.json, and weights in safetensors or PyTorch's own form, in one file or several."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minilm import tokenizers
from minilm.typing import Array
from minilm.weights.config import FAMILIES, config_content, family_of
from minilm.weights.converters.checkpoint import Checkpoint, arrays_in
from minilm.weights.converters.vocabularies import characters, read_tokens, reordered
from minilm.weights.folder import INDEX, WEIGHTS, WeightFolder, read_index
from minilm.weights.keymap import KEYMAPS
from minilm.weights.torch_file import arrays_of, read_torch_file

__all__ = ["read", "recognises"]

TORCH = "pytorch_model.bin"
SPECIAL = ("bos_token_id", "eos_token_id")
TABLES = ("wte.weight", "lm_head.weight", "embed_tokens.weight")


def recognises(path: str) -> bool:
    """Whether there is a config.json of a family that minilm reads, and weights."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if os.path.isfile(path) and os.path.basename(path) not in (TORCH, WEIGHTS):
        return False
    names = (TORCH, f"{TORCH}.index.json", WEIGHTS, INDEX)
    if not os.path.isfile(os.path.join(folder, "config.json")) or not any(os.path.exists(os.path.join(folder, n)) for n in names):
        return False
    config = config_content(folder)
    return "recipe" not in config and "recompute" not in config and family_of(config, ()) in FAMILIES


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The weights of a folder, and its tokenizer where there is one."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    config, arrays = config_content(folder), _arrays(folder)
    if vocabulary is not None:
        tokens = read_tokens(vocabulary, config.get("vocab_size", 0))
        end = config.get("eos_token_id")
        tokenizer, order = characters(tokens, end if isinstance(end, int) and 0 <= end < len(tokens) else None)
        keymap = KEYMAPS[family_of(config, ())]
        arrays = reordered(arrays, order, [name for name in arrays if keymap.canonical(name) in TABLES])
        config |= {name: _place(config[name], tokens, order) for name in SPECIAL if isinstance(config.get(name), int)}
        return Checkpoint(config, arrays, {"tokenizer.json": tokenizer})
    try:
        return Checkpoint(config, arrays, {"tokenizer.json": tokenizers.load(folder)})
    except FileNotFoundError:
        return Checkpoint(config, arrays)


def _place(id: int, tokens: list[str], order: Array) -> int | None:
    """The id of a special token in another order; None where it is a character like any other, and begins and ends nothing."""
    if not 0 <= id < len(tokens) or (len(tokens[id]) == 1 and tokens[id] != "\n"):
        return None
    return int(np.flatnonzero(order == id)[0])


def _arrays(folder: str) -> dict[str, Any]:
    if os.path.exists(os.path.join(folder, WEIGHTS)):
        return arrays_in(os.path.join(folder, WEIGHTS))
    if os.path.exists(os.path.join(folder, INDEX)):
        with WeightFolder(folder) as weights:
            return {name: weights.file_of(name).read(name) for name in weights}
    if os.path.exists(os.path.join(folder, TORCH)):
        return dict(arrays_of(read_torch_file(os.path.join(folder, TORCH))))
    index = os.path.join(folder, f"{TORCH}.index.json")
    arrays: dict[str, Any] = {}
    for name in sorted(set(read_index(index).values())):
        arrays |= arrays_of(read_torch_file(os.path.join(folder, name)))
    return arrays
