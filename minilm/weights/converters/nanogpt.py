"""nanoGPT's ckpt.pt: {"model": state dict, "model_args": sizes, ...}.

Its linear weights are (out, in), not GPT-2's (in, out), and it may have no biases: zeros here. Its activation is GELU by the
error function. Beside a model of characters lies meta.pkl, a pickle of plain values: {"stoi": {character: id}, ...}.

Source: https://github.com/karpathy/nanoGPT/blob/master/model.py
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from minilm.weights.converters.checkpoint import Checkpoint
from minilm.weights.converters.vocabularies import beside, characters, read_tokens, reordered
from minilm.weights.keymap import GPT2, WRAPPED
from minilm.weights.pickles import Bounded, read_pickle
from minilm.weights.torch_file import StoredTensor, arrays_of, is_torch_file, read_torch_file

__all__ = ["read", "recognises"]

SIZES = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "block_size": "n_positions", "vocab_size": "vocab_size"}
OTHERS = ("bias", "dropout")
TABLES = ("transformer.wte.weight", "lm_head.weight")
MOST_META = 1 << 26


def recognises(path: str) -> bool:
    """Whether the file has a model and its sizes."""
    if os.path.isdir(path):
        path = os.path.join(path, "ckpt.pt")
    if not os.path.isfile(path) or not is_torch_file(path):
        return False
    value = read_torch_file(path)
    return isinstance(value, dict) and {"model", "model_args"} <= value.keys()


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The GPT in a checkpoint, as a GPT-2 of Hugging Face's."""
    path = os.path.join(path, "ckpt.pt") if os.path.isdir(path) else path
    value = read_torch_file(path)
    if not isinstance(value, dict) or not isinstance(value.get("model_args"), dict):
        raise ValueError(f"{path} is no checkpoint of nanoGPT: it has no model_args")
    sizes = value["model_args"]
    missing = [name for name in SIZES if type(sizes.get(name)) is not int]
    unknown = [str(name) for name in sizes if name not in (*SIZES, *OTHERS)]
    if missing or unknown:
        raise ValueError(f"{path}: model_args {f'lacks {missing[0]}' if missing else f'has {unknown[0]!r}, which is not known'}")
    tensors = arrays_of({"model": value["model"]})
    arrays: dict[str, Any] = {re.sub(WRAPPED, "", name): tensor for name, tensor in tensors.items()}
    arrays = {name: _stored(name, tensor) for name, tensor in arrays.items()}
    for name in [
        name for name in arrays if name.endswith(".weight") and GPT2.canonical(name) not in ("wte.weight", "wpe.weight")
    ]:
        if name != "lm_head.weight":
            bias = f"{name.removesuffix('weight')}bias"
            size = arrays[name].shape[-1]  # of GPT-2's orientation (in, out)
            arrays.setdefault(bias, np.zeros(size, np.float32))
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{target: sizes[source] for source, target in SIZES.items()},
        "activation_function": "gelu",
        **dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), float(sizes.get("dropout") or 0.0)),
    }
    tokens = _tokens(path, vocabulary, config["vocab_size"])
    if tokens is None:
        return Checkpoint(config, arrays)
    tokenizer, order = characters(tokens)
    return Checkpoint(config, reordered(arrays, order, TABLES), {"tokenizer.json": tokenizer})


def _stored(name: str, tensor: StoredTensor) -> Any:
    """A tensor as GPT-2's files have it."""
    return tensor.numpy().T if GPT2.is_transposed(GPT2.canonical(name)) else tensor


def _tokens(path: str, vocabulary: str | None, size: int) -> list[str] | None:
    """The characters: the user's file, or meta.pkl."""
    file = beside(path, vocabulary, ("meta.pkl",))
    if file is None:
        return None
    if not file.endswith(".pkl"):
        return read_tokens(file, size)
    with open(file, "rb") as content:
        try:
            meta = read_pickle(Bounded(content, min(os.path.getsize(file), MOST_META)), {}, _no_storage)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    numbers = meta.get("stoi") if isinstance(meta, dict) else None
    if not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(map(str, range(size))):
        raise ValueError(f"{file}: stoi must give each of the model's {size:,} characters a number")
    return sorted(map(str, numbers), key=numbers.__getitem__)


def _no_storage(_):
    raise ValueError("a storage stands where none may")
