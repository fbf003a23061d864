"""A layer of one's own, whose backward calls those of the layers inside, last to first: a highway layer.

    t = sigmoid(x W_tᵀ + b_t)          how much of the row is transformed
    h = tanh(x W_hᵀ + b_h)
    y = t h + (1 - t) x

Backward, from dy: every path from x to y adds its part to dx::

    dt = dy (h - x),    dh = dy t,     dx = dy (1 - t) + (dt through sigmoid and W_t) + (dh through tanh and W_h)

Source: R. K. Srivastava, K. Greff, J. Schmidhuber, Highway networks, arXiv:1505.00387.
"""

from __future__ import annotations

import numpy as np

import minilm
from minilm import layers
from minilm.ops import sigmoid, tanh


class Highway(layers.Layer):
    """Rows of `size` numbers in and out."""

    def __init__(self, size, **options):
        super().__init__(**options)
        self.gate = layers.Linear(size, size, dtype=self.dtype, seed=self._generator)
        self.change = layers.Linear(size, size, dtype=self.dtype, seed=self._generator)

    def forward(self, x, *, key=None):
        z, gate = self.gate.forward(x)
        t, opened = sigmoid.forward(z)  # (..., D)
        a, change = self.change.forward(x)
        h, bent = tanh.forward(a)  # (..., D)
        return t * h + (1 - t) * x, (x, t, h, gate, opened, change, bent)

    def backward(self, dy, saved):
        x, t, h, gate, opened, change, bent = saved
        dx = dy * (1 - t)  # (..., D)
        dx = dx + self.gate.backward(sigmoid.backward(dy * (h - x), opened), gate)
        return dx + self.change.backward(tanh.backward(dy * t, bent), change)


def main(size: int = 6) -> bool:
    """Check the gradients by x and by every parameter; whether they are right."""
    layer = Highway(size, dtype=np.float64, seed=0)
    print(layer)
    report = minilm.gradcheck(layer, np.random.default_rng(1).normal(size=(3, 4, size)))
    print(report)
    return report.passed


if __name__ == "__main__":
    main()
