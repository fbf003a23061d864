"""Random zeros during training."""

from __future__ import annotations

from typing import Any

from minilm.layers.base import Layer
from minilm.ops import checks, dropout
from minilm.random import Key
from minilm.typing import Array

RATES = ("p", "dropout", "weight_dropout", "recurrent_dropout", "time_noise")  # layers' attributes


def drops(model: Layer) -> bool:
    """Whether any layer of a model draws random numbers where it is given a key."""
    rates = (getattr(layer, name, 0) for _, layer in model.named_layers() for name in RATES)
    return any(isinstance(rate, (int, float)) and rate > 0 for rate in rates)


class Dropout(Layer):
    """Zero each element with probability p and divide the others by 1 - p, where a key is given; else do nothing.

    Parameters
    ----------
    p : float
        In [0, 1].
    shared_axis : int, optional
        All elements along this axis share one decision; the time axis gives variational dropout.

    Notes
    -----
    The mask is not stored: it is a function of the key. Two uses in one step must have different keys
    (``key.at("attn")``) to have different masks.

    References
    ----------
    N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15 (2014).
    Y. Gal, Z. Ghahramani, A theoretically grounded application of dropout in recurrent neural networks, NIPS 2016.
    """

    def __init__(self, p: float = 0.5, shared_axis: int | None = None):
        super().__init__()
        self.p = checks.number("p", p, 0, 1)
        self.shared_axis = shared_axis

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y, of x's shape (x itself without a key or with p = 0), and what `backward` needs."""
        if key is None or self.p == 0:
            return checks.floats("x", x), None
        return dropout.forward(x, self.p, key, shared_axis=self.shared_axis)

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx, of x's shape."""
        return dy if saved is None else dropout.backward(dy, saved)

    def settings(self) -> str:
        return f"{self.p:g}{'' if self.shared_axis is None else f', shared_axis={self.shared_axis}'}"
