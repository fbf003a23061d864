"""Language models of TensorFlow's BasicLSTMCell, from its variables by name.

A variable of each layer holds the weights of input and state in one, (D + H, 4H), with the gates i, j, f, o side by side; j is
what others call g. The cell adds 1 to the forget gate, which no variable says: it goes into the bias here.

::

    .../cell_0/basic_lstm_cell/kernel (D + H, 4H)    .../bias (4H,)        also weights and biases, as before TensorFlow 1.2
    .../embedding (V, E)                                                   without it the input is one-hot
    .../softmax_w (H, V)    .../softmax_b (V,)

They come as a checkpoint, model.ckpt.index with its data beside it, which is read without TensorFlow
(`minilm.weights.tensorflow_file`); or in an .npz, which TensorFlow's own reader fills, the slashes staying in the names::

    numpy.savez("model.npz", **{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minilm.typing import Array
from minilm.weights.converters import recurrent
from minilm.weights.converters.checkpoint import Checkpoint, arrays_in, names_in

__all__ = ["gates", "read", "recognises"]

CELL = r"(?:cell_(\d+)/)?basic_lstm_cell/(kernel|weights|bias|biases)$"
FORGET_BIAS = 1.0
ENDS = {"embedding": "embedding.weight", "softmax_w": "output.weight", "softmax_b": "output.bias"}
OTHERS = r"(?:.*/)?(global_step|beta\d_power|.*/Adam(_\d)?|.*_lr|learning_rate)"  # of training


def recognises(path: str) -> bool:
    """Whether a name is that of such a cell's variable."""
    return any(re.search(CELL, name) for name in names_in(path))


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The model of a checkpoint's variables."""
    arrays, cells = {}, {}
    for name, array in arrays_in(path).items():
        cell, end = re.search(CELL, name), name.rpartition("/")[2]
        if cell is not None:
            cells[int(cell[1] or 0), "kernel" if cell[2] in ("kernel", "weights") else "bias"] = array
        elif end in ENDS:
            arrays[ENDS[end]] = array.T if end == "softmax_w" else array
        elif not re.fullmatch(OTHERS, name):
            raise ValueError(f"{path}: {name[:80]!r} is no variable of a language model of BasicLSTMCell")
    for layer in sorted({layer for layer, _ in cells}):
        if (layer, "kernel") not in cells or (layer, "bias") not in cells:
            raise ValueError(f"{path}: cell {layer} lacks its kernel or its bias")
        arrays |= gates(path, layer, cells[layer, "kernel"], cells[layer, "bias"])
    if "embedding.weight" not in arrays and "recurrent.weight_ih_l0" in arrays:
        arrays["embedding.weight"] = np.eye(arrays["recurrent.weight_ih_l0"].shape[1], dtype=np.float32)  # one-hot
    return recurrent.from_arrays(path, arrays, vocabulary)


def gates(path: str, layer: int, kernel: Array, bias: Array) -> dict[str, Any]:
    """A layer's weights by PyTorch's names, with its gates in PyTorch's order and the forget bias."""
    if kernel.ndim != 2 or kernel.shape[1] % 4 or kernel.shape[0] <= kernel.shape[1] // 4 or bias.shape != kernel.shape[1:]:
        raise ValueError(f"{path}: cell {layer} has a kernel of shape {kernel.shape}, wanted (D + H, 4H), and a bias of 4H")
    H = kernel.shape[1] // 4
    i, j, f, o = (slice(gate * H, (gate + 1) * H) for gate in range(4))
    rows = np.concatenate([kernel[:, each] for each in (i, f, j, o)], axis=1).T  # (4H, D + H) i f g o
    shifted = np.concatenate([bias[i], bias[f] + np.float32(FORGET_BIAS), bias[j], bias[o]])  # (4H,)
    weights = {"weight_ih": rows[:, :-H], "weight_hh": rows[:, -H:], "bias_ih": shifted, "bias_hh": np.zeros_like(shifted)}
    return {f"recurrent.{name}_l{layer}": np.ascontiguousarray(value) for name, value in weights.items()}
