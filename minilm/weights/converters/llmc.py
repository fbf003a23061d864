"""llm.c's model files: a header of 256 int32, then the weights of GPT-2 in a fixed order, each of all layers together.

::

    20240326, version, positions T, tokens V, layers L, heads, width C, tokens with padding Vp, 0 ...
    wte (Vp, C)  wpe (T, C)  ln1w ln1b (L, C)  qkvw (L, 3C, C)  qkvb (L, 3C)  attprojw (L, C, C)  attprojb (L, C)
    ln2w ln2b (L, C)  fcw (L, 4C, C)  fcb (L, 4C)  fcprojw (L, C, 4C)  fcprojb (L, C)  lnfw lnfb (C,)

Version 3 is float32, 5 bfloat16; version 1 is float32 too, and has no padding. Linear weights are (out, in).

Source: https://github.com/karpathy/llm.c (train_gpt2.py writes them, dev/eval/export_hf.py reads them)
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from minilm.weights.converters.checkpoint import Checkpoint

__all__ = ["read", "recognises"]

MAGIC, HEADER = 20240326, 256
VERSIONS = {1: "<f4", 3: "<f4", 5: "<u2"}
# name, GPT-2's name, shape without the layers; the linear ones are transposed for GPT-2's files
OUTER = (("wte.weight", "VC"), ("wpe.weight", "TC"))
LAYERS = (
    ("ln_1.weight", "C"), ("ln_1.bias", "C"), ("attn.c_attn.weight", "3C"), ("attn.c_attn.bias", "3"),
    ("attn.c_proj.weight", "CC"), ("attn.c_proj.bias", "C"), ("ln_2.weight", "C"), ("ln_2.bias", "C"),
    ("mlp.c_fc.weight", "4C"), ("mlp.c_fc.bias", "4"), ("mlp.c_proj.weight", "C4"), ("mlp.c_proj.bias", "C"),
)  # fmt: skip
LAST = (("ln_f.weight", "C"), ("ln_f.bias", "C"))


def recognises(path: str) -> bool:
    """Whether the file begins with the magic number."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == MAGIC.to_bytes(4, "little")


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The GPT-2 in a file."""
    if vocabulary is not None:
        raise ValueError("llm.c's models are of GPT-2's tokens: put its tokenizer's files into the folder, without --vocabulary")
    size = os.path.getsize(path)
    if not recognises(path) or size < 4 * HEADER:
        raise ValueError(f"{path} is no model of llm.c: it does not begin with {MAGIC} and 256 numbers")
    header = np.fromfile(path, "<i4", HEADER).tolist()
    version, T, V, L, H, C, Vp = header[1:8]
    if version not in VERSIONS:
        raise ValueError(f"{path} is of version {version} of llm.c's format, wanted {', '.join(map(str, VERSIONS))}")
    Vp = V if version == 1 else Vp
    if min(T, V, L, H, C) < 1 or Vp < V or C % H:
        raise ValueError(f"{path}: its header has sizes that no model has: {header[2:8]}")
    sizes = {"T": T, "V": Vp, "C": C, "3": 3 * C, "4": 4 * C}
    shapes = [(f"transformer.{name}", _shape(letters, sizes)) for name, letters in OUTER]
    shapes += [(name, (L, *_shape(letters, sizes))) for name, letters in LAYERS]
    shapes += [(f"transformer.{name}", _shape(letters, sizes)) for name, letters in LAST]
    kind = np.dtype(VERSIONS[version])
    expected = 4 * HEADER + kind.itemsize * sum(math.prod(shape) for _, shape in shapes)
    if size != expected:
        raise ValueError(f"{path} has {size:,} bytes, and its header asks for {expected:,}")
    arrays: dict[str, Any] = {}
    with open(path, "rb") as file:
        file.seek(4 * HEADER)
        for name, shape in shapes:
            values = _numbers(np.fromfile(file, kind, math.prod(shape))).reshape(shape)
            if len(shape) == 3 or name in {each for each, _ in LAYERS}:
                for layer in range(L):
                    arrays[f"transformer.h.{layer}.{name}"] = values[layer].T if values.ndim == 3 else values[layer]
            else:
                arrays[name] = values
    arrays["transformer.wte.weight"] = arrays["transformer.wte.weight"][:V]  # the padding is no token
    config = {"n_positions": T, "vocab_size": V, "n_layer": L, "n_head": H, "n_embd": C}
    return Checkpoint({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **config}, arrays)


def _shape(letters: str, sizes: dict[str, int]) -> tuple[int, ...]:
    wide = {"3C": (sizes["3"], sizes["C"]), "4C": (sizes["4"], sizes["C"]), "C4": (sizes["C"], sizes["4"])}
    return wide.get(letters) or tuple(sizes[letter] for letter in letters)


def _numbers(values):
    """float32 of float32, or of the upper halves that bfloat16 is."""
    return values if values.dtype.kind == "f" else (values.astype(np.uint32) << 16).view(np.float32)
