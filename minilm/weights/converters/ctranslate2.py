"""Encoder-decoder Transformers of CTranslate2: model.bin, or its arrays by name in safetensors or .npz.

::

    encoder/embeddings/weight (V, D)    encoder/layer_0/self_attention/layer_norm/gamma, beta
    .../self_attention/linear_0 (3D, D): q, k and v in one    linear_1 (D, D)
    .../ffn/layer_norm, linear_0 (F, D), linear_1 (D, F)    encoder/layer_norm
    decoder/...    .../attention/linear_0 (D, D): q    linear_1 (2D, D): k and v    linear_2 (D, D)    decoder/projection (V, D)

The norms stand before each part; where the file does not say how many heads there are, they are 8, as in OpenNMT's models.
Positions are those of tensor2tensor where the file has none. Beside lie the two lists of tokens.

model.bin::

    version (u32)  name  revision (u32)  number of arrays (u32)
    each: name, rank (u8), sizes (u32), type (i8), bytes (u32), its numbers
    a name is its length (u16) and text, with a zero at its end
    number of aliases (u32), pairs of names

Source: https://github.com/OpenNMT/CTranslate2 (python/ctranslate2/specs)
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from typing import Any

import numpy as np

from minilm.files import shallow
from minilm.weights.converters.checkpoint import Checkpoint, arrays_in, names_in
from minilm.weights.converters.vocabularies import lines_of, spelled_rules, words

__all__ = ["read", "read_model", "recognises"]

TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
MOST_ARRAYS = 1 << 16
HEADS = 8
MOST = 256  # tokens of a target, as CTranslate2's translator has it
ACTIVATIONS = {0: "relu", 1: "gelu_tanh", 3: "gelu_erf"}
ONLY = {"pre_norm": 1, "scale_embeddings": 1, "multi_query_attention": 0, "start_from_zero_embedding": 0}  # of a file's settings
IGNORED = ("alignment_layer", "alignment_heads", "embeddings_merge")
SELF = {"ln_1": "self_attention/layer_norm", "attn.c_attn": "self_attention/linear_0", "attn.c_proj": "self_attention/linear_1"}
CROSS = {
    "ln_cross_attn": "attention/layer_norm",
    "crossattention.query": "attention/linear_0",
    "crossattention.c_proj": "attention/linear_2",
}
FEED = {"ln_2": "ffn/layer_norm", "mlp.c_fc": "ffn/linear_0", "mlp.c_proj": "ffn/linear_1"}
PAIR = ("crossattention.key", "crossattention.value")  # in one
OUTSIDE = {"source_embedding": "encoder/embeddings", "target_embedding": "decoder/embeddings", "output": "decoder/projection"}
OUTSIDE |= {"encoder_norm": "encoder/layer_norm", "decoder_norm": "decoder/layer_norm"}
POSITIONS = {
    f"{side}_positions.weight": f"{half}/position_encodings/encodings"
    for side, half in (("source", "encoder"), ("target", "decoder"))
}


def recognises(path: str) -> bool:
    """Whether the arrays have these names."""
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, "model.bin")):
        path = os.path.join(path, "model.bin")
    if os.path.isfile(path) and path.endswith(".bin"):
        with open(path, "rb") as file:
            head = file.read(64)
        return head[:4] in (b"\5\0\0\0", b"\6\0\0\0") and b"Spec\0" in head
    return "encoder/layer_0/self_attention/linear_0/weight" in names_in(path)


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The `minilm.models.Transformer` of a file, and its tokenizers, of tokens between spaces."""
    if vocabulary is not None:
        raise ValueError("CTranslate2's models have two lists of tokens beside them, source_vocabulary and target_vocabulary")
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if os.path.isfile(os.path.join(folder, "model.bin")) and not path.endswith((".safetensors", ".npz")):
        path = os.path.join(folder, "model.bin")
        arrays = read_model(path)
    else:
        arrays = arrays_in(path)
    config, arrays = _described(path, arrays)
    tokenizers = {}
    for side, size in (("source", config["vocab_size"]), ("target", config["target_vocab_size"])):
        tokens = _tokens(folder, side)
        if tokens is not None:
            if len(tokens) == size - 1 and "<unk>" not in tokens:
                tokens.append("<unk>")  # the last row, which the list does not name
            if len(tokens) != size:
                raise ValueError(f"{folder}: the {side}'s vocabulary has {len(tokens):,} tokens, and the model {size:,}")
            tokenizers[f"{side}.json"], _ = words(tokens, None, None)
    return Checkpoint(config, arrays, tokenizers, spelled_rules(tokenizers, MOST))


def _tokens(folder: str, side: str) -> list[str] | None:
    for name in (f"{side}_vocabulary", "shared_vocabulary"):
        if os.path.isfile(file := os.path.join(folder, f"{name}.txt")):
            return lines_of(file)
        if os.path.isfile(file := os.path.join(folder, f"{name}.json")):
            with open(file, encoding="utf-8") as content:
                tokens = shallow(json.load(content))
            if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
                raise ValueError(f"{file}: wanted a list of tokens")
            return tokens
    return None


# --- the model ---------------------------------------------------------------------------------------------------------


def _described(path: str, stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, and the arrays by `Transformer`'s names."""
    settings, weights = _settings(path, stored)
    try:
        (V, D), outputs = weights["encoder/embeddings/weight"].shape, weights["decoder/embeddings/weight"].shape[0]
        F = weights["encoder/layer_0/ffn/linear_0/weight"].shape[0]
    except (KeyError, ValueError):
        raise ValueError(f"{path} is no encoder-decoder Transformer: it lacks its tables of tokens") from None
    layers = {
        side: len({m[1] for name in weights if (m := re.match(rf"{side}/layer_(\d+)/", name))}) for side in ("encoder", "decoder")
    }
    arrays: dict[str, Any] = {}
    for target, source in _parts(layers["encoder"], layers["decoder"]):
        for end, ends in (("weight", ("weight", "gamma")), ("bias", ("bias", "beta"))):
            name = next((f"{source}/{each}" for each in ends if f"{source}/{each}" in weights), None)
            if name is not None:
                arrays[f"{target}.{end}"] = weights.pop(name)
    for layer in range(layers["decoder"]):
        for end in ("weight", "bias"):
            both = weights.pop(f"decoder/layer_{layer}/attention/linear_1/{end}", np.zeros((0, D), np.float32))
            arrays |= {
                f"decoder.{layer}.{name}.{end}": half for name, half in zip(PAIR, np.split(both, [len(both) // 2]), strict=True)
            }
    stated = [source for source in POSITIONS.values() if source in weights]
    arrays |= {target: weights.pop(source) for target, source in POSITIONS.items() if source in weights}
    if weights:
        raise ValueError(f"{path}: {sorted(weights)[0]!r} is no weight of an encoder-decoder Transformer that minilm has")
    sizes = {"vocab_size": V, "target_vocab_size": outputs, "d_model": D, "hidden_dim": F}
    sizes |= {f"{side}_layers": count for side, count in layers.items()}
    config = {"model_type": "transformer", **sizes, "num_heads": HEADS, "activation": "relu", **settings, "norm_first": True}
    config |= {"positions": "tensor2tensor", "tied": False, "output_bias": "output.bias" in arrays}
    if stated:
        config |= {"positions": "learned", "max_positions": len(arrays["source_positions.weight"])}
    return config, arrays


def _parts(encoder: int, decoder: int):
    """Our name and source of every part that has a weight, and perhaps a bias, of its own."""
    yield from OUTSIDE.items()
    for side, layers, parts in (("encoder", encoder, SELF | FEED), ("decoder", decoder, SELF | CROSS | FEED)):
        for layer in range(layers):
            for target, source in parts.items():
                yield f"{side}.{layer}.{target}", f"{side}/layer_{layer}/{source}"


def _settings(path: str, stored: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the file's numbers without axes say, and its weights."""
    settings: dict[str, Any] = {}
    for name, value in stored.items():
        what = name.rpartition("/")[2]
        if value.ndim or what in IGNORED:
            continue
        number = int(value)
        if what == "num_heads":
            settings["num_heads"] = number
        elif what == "activation" and number in ACTIVATIONS:
            settings["activation"] = ACTIVATIONS[number]
        elif ONLY.get(what) != number:
            raise ValueError(f"{path}: {name} = {number} is not supported" + (f", wanted {ONLY[what]}" if what in ONLY else ""))
    weights = {name: value for name, value in stored.items() if value.ndim and name.rpartition("/")[2] not in IGNORED}
    wrong = next((name for name, value in weights.items() if value.dtype.kind != "f"), None)
    if wrong is not None:
        raise ValueError(f"{path}: {wrong} is quantised to {weights[wrong].dtype}: convert the model without --quantization")
    return settings, {name: value.astype(np.float32, copy=False) for name, value in weights.items()}


# --- model.bin -----------------------------------------------------------------------------------------------------------


def read_model(path: str) -> dict[str, Any]:
    """The arrays of model.bin by name, and numbers without axes; aliases are arrays too."""
    with open(path, "rb") as file:
        reader = _Reader(path, file, os.path.getsize(path))
        version = reader.number("I")
        if version not in (5, 6):
            raise ValueError(f"{path} is of version {version} of CTranslate2's format, wanted 5 or 6")
        name = reader.text()
        if name != "TransformerSpec":
            raise ValueError(f"{path} holds a {name[:40]!r}, wanted a TransformerSpec: an encoder and a decoder")
        reader.number("I")
        count = reader.number("I")
        if count > MOST_ARRAYS:
            raise ValueError(f"{path} is damaged: it tells of {count:,} arrays")
        arrays = dict(reader.array() for _ in range(count))
        for _ in range(min(reader.number("I"), MOST_ARRAYS)):
            alias, target = reader.text(), reader.text()
            if target not in arrays:
                raise ValueError(f"{path}: {alias[:80]!r} stands for {target[:80]!r}, which is not there")
            arrays[alias] = arrays[target]
    return arrays


class _Reader:
    """Goes through model.bin; no length is believed before it is held against what the file has left."""

    def __init__(self, path, file, size):
        self.path, self.file, self.size = path, file, size

    def take(self, count: int) -> bytes:
        if count > self.size - self.file.tell():
            raise ValueError(f"{self.path} is cut short, or damaged: {count:,} bytes are wanted where it has fewer")
        return self.file.read(count)

    def number(self, kind: str) -> int:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))[0]

    def text(self) -> str:
        try:
            return self.take(self.number("H")).removesuffix(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is damaged: a name is not UTF-8") from None

    def array(self) -> tuple[str, Any]:
        name, rank = self.text(), self.number("B")
        shape = tuple(self.number("I") for _ in range(rank))
        kind, count = self.number("b"), self.number("I")
        if kind not in TYPES or rank > 8 or math.prod(shape) * np.dtype(TYPES[kind]).itemsize != count:
            raise ValueError(f"{self.path}: {name[:80]!r} of type {kind} and shape {shape[:8]} cannot have {count:,} bytes")
        return name, np.frombuffer(self.take(count), TYPES[kind]).reshape(shape)
