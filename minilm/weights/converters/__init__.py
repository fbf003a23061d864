"""Converters of weights that other programs wrote: a file a format, and the one table that names them.

Each module of `CONVERTERS` has two functions:

``recognises(path)``
    Whether a file or folder is of this format, by what is in it. It reads little, and raises nothing of a damaged file.
``read(path, vocabulary)``
    The `Checkpoint` in it. `vocabulary` is a file of tokens, where the format's own does not hold them.

What a converter gives, `minilm.models.convert_from` makes into a model; ``minilm convert FROM TO`` writes it in another form.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from minilm.mistaken import did_you_mean
from minilm.typing import PathLike
from minilm.weights.converters.checkpoint import Checkpoint

__all__ = ["CONVERTERS", "Checkpoint", "converter", "recognised"]

CONVERTERS = {  # kind -> what it is; the module of the kind's name reads it. The first that recognises a file is taken.
    "nanogpt": "ckpt.pt of nanoGPT, with meta.pkl beside it where the tokens are characters",
    "huggingface": "a folder of config.json and model.safetensors or pytorch_model.bin: GPT, GPT-2, Llama and relatives, BERT",
    "llmc": "a model's .bin of llm.c, in float32 or bfloat16",
    "ctranslate2": "an encoder-decoder Transformer of CTranslate2: model.bin, or its arrays by name",
    "tensorflow": "a language model of TensorFlow's BasicLSTMCell: NAME.ckpt.index with its data, .npz or .safetensors",
    "keras": "textgenrnn's and chars2vec's weights in Keras's HDF5 (needs h5py)",
    "recurrent": "a language model of LSTM, GRU or RNN by PyTorch's names, in .safetensors or a state dict",
    "dates": "the date translator of Deep Learning from Scratch 2, by its parts' names, in .safetensors",
    "g2p": "the GRU encoder-decoder of g2p_en, from letters to phonemes, in .npz or .safetensors",
}


def converter(kind: str) -> ModuleType:
    """The module that reads a kind of `CONVERTERS`; ValueError, with the nearest, for another."""
    if kind not in CONVERTERS:
        raise ValueError(f"there is no converter {kind!r}: {did_you_mean(kind, CONVERTERS)}")
    return importlib.import_module(f"minilm.weights.converters.{kind}")


def recognised(path: PathLike) -> str | None:
    """The kind of a file or folder, or None."""
    path = os.path.expanduser(os.fspath(path))
    for kind in CONVERTERS:
        try:
            if converter(kind).recognises(path):
                return kind
        except (OSError, ValueError):
            continue
    return None


def __dir__() -> list[str]:
    return sorted(__all__)
