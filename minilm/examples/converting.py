"""Weights of another program into a model here, and proof that they do there what they did here.

The other program is a class of twenty lines below, an LSTM as TensorFlow 1 had it (`BasicLSTMCell`): one matrix for x and h
together, (D + H, 4 H), its gates in the order i, g, f, o, and 1 added to the forget gate's sum. Here there are W_ih (4 H, D) and
W_hh (4 H, H), and the order is i, f, g, o. Three steps: split and transpose, put the gates in order, fold the 1 into the bias.
Then run both. (Known formats are read by ``minilm convert``, and Hugging Face's by ``from_pretrained``.)
"""

from __future__ import annotations

import numpy as np

from minilm import layers

TENSORFLOW, MINILM = "igfo", "ifgo"


class BasicLSTMCell:
    """The other program."""

    def __init__(self, D, H, rng):
        self.kernel = rng.normal(0, 0.3, (D + H, 4 * H)).astype(np.float32)
        self.bias = rng.normal(0, 0.3, 4 * H).astype(np.float32)
        self.H = H

    def __call__(self, x):  # (B, T, D)
        h = c = np.zeros((len(x), self.H), np.float32)
        outputs = []
        for t in range(x.shape[1]):
            i, g, f, o = np.split(np.concatenate([x[:, t], h], axis=1) @ self.kernel + self.bias, 4, axis=1)
            c = _sigmoid(f + 1) * c + _sigmoid(i) * np.tanh(g)  # (B, H)
            h = _sigmoid(o) * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs, axis=1)  # (B, T, H)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def converted(cell: BasicLSTMCell) -> layers.LSTM:
    """The same LSTM as a layer here."""
    D = len(cell.kernel) - cell.H
    gates = dict(zip(TENSORFLOW, np.split(cell.kernel.T, 4), strict=True))  # of each (H, D + H)
    biases = dict(zip(TENSORFLOW, np.split(cell.bias, 4), strict=True))  # of each (H,)
    biases["f"] = biases["f"] + 1
    W = np.concatenate([gates[gate] for gate in MINILM])  # (4 H, D + H)
    lstm = layers.LSTM(D, cell.H, seed=0)
    state = {"weight_ih_l0": W[:, :D], "weight_hh_l0": W[:, D:], "bias_ih_l0": np.concatenate([biases[gate] for gate in MINILM])}
    state |= {name: np.zeros_like(value) for name, value in lstm.parameters.items() if name not in state}  # a second bias
    lstm.parameters.load_state_dict(state)
    return lstm


def main(D: int = 5, H: int = 4) -> float:
    """Convert, run both on the same numbers; the largest difference."""
    rng = np.random.default_rng(0)
    cell, x = BasicLSTMCell(D, H, rng), rng.normal(size=(3, 7, D)).astype(np.float32)
    lstm = converted(cell)
    (y, *_), _ = lstm.forward(x)
    difference = float(np.abs(y - cell(x)).max())
    print(f"{lstm}\nlargest difference of {y.size} outputs: {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
