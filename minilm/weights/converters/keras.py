"""Weights in Keras's HDF5 of models that are no `Sequential`: textgenrnn's, and of chars2vec's stacks of LSTM layers.

Keras's LSTM has its gates in the order i f c o, which is PyTorch's i f g o; kernels are (D, 4H). CuDNNLSTM's file differs: its
bias has 8H numbers, those of the input before those of the state; and the numbers of a gate lie as CuDNN wants them, (H, D) of
the input and (H, H) of the state, though the array says (D, H). Models that a file describes are for
`minilm.sequential.load_model`.

::

    embedding/embeddings (V, E)    rnn_1/kernel, recurrent_kernel, bias    rnn_2/...
    attention/attention_W (E + L H, 1)    output/kernel (E + L H, V), output/bias (V,)                   textgenrnn
    lstm_1/kernel (D, 4H), recurrent_kernel (H, 4H), bias (4H,)    lstm_2/...                            chars2vec
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from minilm.typing import Array
from minilm.weights.converters import recurrent
from minilm.weights.converters.checkpoint import Checkpoint, weights_file
from minilm.weights.hdf5 import at, library, numbers, text

__all__ = ["read", "read_arrays", "recognises"]

MAGIC = b"\x89HDF"
PLACES = {"embedding/embeddings": "embedding.weight", "output/kernel": "output.weight", "output/bias": "output.bias"}
PARTS = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_ih"}


def recognises(path: str) -> bool:
    """Whether the file is HDF5 and holds weights alone."""
    path = _file(path)
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        if file.read(4) != MAGIC:
            return False
    return not _described(path)


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The `minilm.models.WindowLanguageModel` of textgenrnn's file, or the `Sequential` of chars2vec's."""
    path = _file(path)
    if _described(path):
        raise ValueError(f"{path} holds a whole model of Keras: it needs no conversion, minilm.sequential.load_model reads it")
    arrays = read_arrays(path)
    if "embedding/embeddings" not in arrays:
        return _stack(path, arrays)
    renamed: dict[str, Any] = {}
    for name, array in arrays.items():
        layer = re.fullmatch(r"rnn_(\d+)/(kernel|recurrent_kernel|bias)", name)
        if layer is not None:
            renamed |= _of_layer(path, int(layer[1]) - 1, layer[2], array)
        elif name == "attention/attention_W":
            renamed["attention.weight"] = array.reshape(-1)
        elif name in PLACES:
            renamed[PLACES[name]] = array.T if name == "output/kernel" else array
        else:
            raise ValueError(f"{path}: {name[:80]!r} is no weight of textgenrnn's")
    return recurrent.from_arrays(path, renamed, vocabulary)


def _file(path: str) -> str:
    """The file itself; of a folder its only HDF5, where no other file there is a language model's."""
    if not os.path.isdir(path):
        return path
    files = [name for name in os.listdir(path) if name.endswith((".h5", ".hdf5"))]
    other = os.path.isfile(os.path.join(path, "model.safetensors")) and recurrent.recognises(path)
    return weights_file(path) if other or len(files) != 1 else os.path.join(path, files[0])


def read_arrays(path: str) -> dict[str, Array]:
    """The arrays of Keras 2's file of weights, by LAYER/WEIGHT."""
    arrays = {}
    try:
        with library().File(path, "r") as file:
            group = at(file, "model_weights") or file
            for layer in map(text, group.attrs["layer_names"]):
                for name in map(text, at(group, layer).attrs["weight_names"]):
                    arrays[name.partition(":")[0]] = numbers(at(group, f"{layer}/{name}"))
    except Exception as error:  # of a damaged file h5py raises what it likes
        raise ValueError(f"{path} is no file of Keras's weights: {' '.join(str(error).split())}") from None
    return arrays


def _described(path: str) -> bool:
    """Whether the file says what its model is made of."""
    try:
        with library().File(path, "r") as file:
            return "model_config" in file.attrs
    except OSError as error:
        raise ValueError(f"{path} is no whole HDF5 file: {' '.join(str(error).split())}") from None


def _of_layer(path: str, layer: int, part: str, array: Array) -> dict[str, Array]:
    """A weight of CuDNNLSTM, by PyTorch's names."""
    if part == "bias":
        if array.ndim != 1 or len(array) % 8:
            raise ValueError(
                f"{path}: rnn_{layer + 1}/bias has shape {array.shape}, wanted 8H numbers, as CuDNN's layout has them"
            )
        of_input, of_state = np.split(array, 2)
        return {f"recurrent.bias_ih_l{layer}": of_input, f"recurrent.bias_hh_l{layer}": of_state}
    if array.ndim != 2 or array.shape[1] % 4:
        raise ValueError(f"{path}: rnn_{layer + 1}/{part} has shape {array.shape}, wanted 4 gates side by side")
    gates = [np.ascontiguousarray(gate).reshape(gate.shape[::-1]) for gate in np.split(array, 4, axis=1)]  # (H, D) each
    return {f"recurrent.{PARTS[part]}_l{layer}": np.concatenate(gates)}  # (4H, D)


def _stack(path: str, arrays: dict[str, Array]) -> Checkpoint:
    """Layers of LSTM one on another, whose last state is the vector of a word.

    Their gates are Keras 2's hard_sigmoid, clip(x / 5 + 1 / 2); Keras 3's, and minilm's, is clip(x / 6 + 1 / 2), of 6/5 x.
    """
    names = list(dict.fromkeys(name.partition("/")[0] for name in arrays))
    expected = [f"{name}/{part}" for name in names for part in PARTS]
    if not names or list(arrays) != expected or not all(re.fullmatch(r"lstm_\d+", name) for name in names):
        raise ValueError(
            f"{path} holds {', '.join(list(arrays)[:8]) or 'no weights'}, wanted those of textgenrnn or layers of LSTM"
        )
    layers, scaled = [], {}
    for name in names:
        H = arrays[f"{name}/recurrent_kernel"].shape[0]
        if arrays[f"{name}/kernel"].shape[-1] != 4 * H or arrays[f"{name}/kernel"].ndim != 2:
            raise ValueError(f"{path}: {name}/kernel has shape {arrays[f'{name}/kernel'].shape}, wanted {4 * H} columns")
        options = {"units": H, "recurrent_activation": "hard_sigmoid", "return_sequences": name != names[-1], "name": name}
        layers.append({"class_name": "LSTM", "config": options})
        factors = np.repeat(np.array([1.2, 1.2, 1, 1.2], np.float32), H)  # (4H,) of the gates i f c o
        scaled |= {f"{name}/{part}": arrays[f"{name}/{part}"] * factors for part in PARTS}
    shape = [None, None, arrays[f"{names[0]}/kernel"].shape[0]]
    return Checkpoint({"model_type": "sequential", "name": "chars2vec", "input_shape": shape, "layers": layers}, scaled)
