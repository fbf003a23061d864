"""Language models of LSTM, GRU or RNN by PyTorch's names: an embedding, recurrent layers, and an affine map to the logits.

::

    embedding.weight (V, E)                                    also encoder.weight, as in PyTorch's own example
    recurrent.weight_ih_l0 (G H, E), weight_hh_l0 (G H, H), bias_ih_l0, bias_hh_l0 (G H,), ..._l1 ...      also rnn., lstm., gru.
    output.weight (V, H), output.bias (V,)                     also decoder., fc.
    attention.weight (E + L H,)                                where the model is a `WindowLanguageModel`, as textgenrnn's

Gates are in PyTorch's order: i f g o, r z n. Their number G says which cell it is. Without output.weight it is tied.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minilm.weights.converters.checkpoint import Checkpoint, arrays_in, checked, names_in
from minilm.weights.converters.vocabularies import beside, characters, read_tokens, reordered, words

__all__ = ["from_arrays", "read", "recognises"]

PARTS = {"embedding": ("encoder", "embed"), "recurrent": ("rnn", "lstm", "gru"), "output": ("decoder", "fc", "linear")}
CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
TABLES = ("embedding.weight", "output.weight", "output.bias")


def recognises(path: str) -> bool:
    """Whether the arrays have these names."""
    names = {_renamed(name) for name in names_in(path)}
    return {"embedding.weight", "recurrent.weight_ih_l0", "output.bias"} <= names


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The model in a file, with the list of tokens that lies beside it."""
    arrays = {_renamed(name): array for name, array in arrays_in(path).items()}
    return from_arrays(path, arrays, vocabulary)


def from_arrays(path: str, arrays: dict[str, Any], vocabulary: str | None) -> Checkpoint:
    """The model of arrays by these names; `path` is where they came from."""
    config, shapes = _described(path, arrays)
    biases = [name for name in shapes if "bias" in name]
    checked(path, arrays, {name: shape for name, shape in shapes.items() if name not in biases or name in arrays})
    arrays = {**{name: np.zeros(shapes[name], np.float32) for name in biases}, **arrays}
    file, tokenizers = beside(path, vocabulary), {}
    if file is not None:
        tokens = read_tokens(file, config["vocab_size"])
        spelled = sum(len(token) <= 1 for token in tokens)
        tokenizer, order = characters(tokens) if 2 * spelled > len(tokens) else words(tokens)
        arrays, tokenizers = reordered(arrays, order, TABLES), {"tokenizer.json": tokenizer}
        if config["model_type"] == "window_lm":
            config["pad_token_id"] = int(np.flatnonzero(order == 0)[0])
    if config["model_type"] == "window_lm":
        arrays = {_layered(name): array for name, array in arrays.items()}
    return Checkpoint(config, arrays, tokenizers)


def _renamed(name: str) -> str:
    first, dot, rest = name.partition(".")
    return next((part for part, others in PARTS.items() if first in others), first) + dot + rest


def _described(path: str, arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The configuration, and the shapes that the arrays must have."""
    try:
        (V, E), (rows, H) = arrays["embedding.weight"].shape, arrays["recurrent.weight_hh_l0"].shape
    except (KeyError, ValueError):
        raise ValueError(f"{path} has no matrices embedding.weight and recurrent.weight_hh_l0") from None
    layers = len([name for name in arrays if re.fullmatch(r"recurrent\.weight_hh_l\d+", name)])
    if H == 0 or rows % H or rows // H not in CELLS:
        raise ValueError(f"{path}: recurrent.weight_hh_l0 has shape {(rows, H)}, wanted 4 H, 3 H or H rows of H numbers")
    sizes = {"vocab_size": V, "embedding_size": E, "hidden_size": H, "num_layers": layers}
    window, C = "attention.weight" in arrays, E + layers * H
    tied = "output.weight" not in arrays
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (V, E), "output.bias": (V,)}
    for layer in range(layers):
        shapes |= {f"recurrent.weight_ih_l{layer}": (rows, H if layer else E), f"recurrent.weight_hh_l{layer}": (rows, H)}
        shapes |= {f"recurrent.bias_{side}_l{layer}": (rows,) for side in ("ih", "hh")}
    if window:
        shapes |= {"attention.weight": (C,), "output.weight": (V, C)}
        return {"model_type": "window_lm", **sizes}, shapes
    if not tied:
        shapes["output.weight"] = (V, H)
    elif E != H:
        raise ValueError(f"{path} has no output.weight, and a table of {E} columns cannot be it for a state of {H}")
    return {"model_type": "rnn_lm", **sizes, "cell": CELLS[rows // H], "tied": tied}, shapes


def _layered(name: str) -> str:
    """The name of an array in `WindowLanguageModel`, which has a layer of its own for each."""
    return re.sub(r"^recurrent\.(.+)_l(\d+)$", r"recurrent.\2.\1_l0", name)
