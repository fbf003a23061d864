"""Activations by Keras's names: pairs of forward and backward.

Those of language models are ops (`PAIRS`). The others are computed here in NumPy, or CuPy, each with its derivative as a function
of its own output y, so that backward needs y alone (`FUNCTIONS`). A recurrent layer that runs step by step takes both of its
activations from `FUNCTIONS`: see `minilm.sequential.stepwise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.mistaken import did_you_mean
from minilm.ops import activations, softmax
from minilm.typing import Array

__all__ = ["FUNCTIONS", "activation_name", "backward", "forward"]

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x):
    return x.dtype.type(SELU_SCALE) * np.where(x > 0, x, x.dtype.type(SELU_ALPHA) * np.expm1(np.minimum(x, 0)))


FUNCTIONS = {  # name -> (y = f(x), f'(x) in terms of y)
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "sigmoid": (_sigmoid, lambda y: y * (1 - y)),
    "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(y.dtype)),
    "linear": (lambda x: x, np.ones_like),
    "elu": (_elu, lambda y: np.where(y > 0, y.dtype.type(1), y + 1)),
    "selu": (_selu, lambda y: np.where(y > 0, y.dtype.type(SELU_SCALE), y + y.dtype.type(SELU_SCALE * SELU_ALPHA))),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), lambda y: -np.expm1(-y)),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda y: (1 - np.abs(y)) ** 2),
    "exponential": (np.exp, lambda y: y),
    "hard_sigmoid": (
        lambda x: np.clip(x / x.dtype.type(6) + x.dtype.type(0.5), 0, 1),
        lambda y: ((y > 0) & (y < 1)).astype(y.dtype) / y.dtype.type(6),
    ),
    "leaky_relu": (
        lambda x: np.where(x > 0, x, x.dtype.type(0.2) * x),
        lambda y: np.where(y > 0, y.dtype.type(1), y.dtype.type(0.2)),
    ),
}

PAIRS = {
    "linear": None,
    "relu": activations.relu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "gelu": activations.gelu_erf,
    "silu": activations.silu,
    "swish": activations.silu,
    "softmax": softmax,
}


def activation_name(activation: str | None) -> str:
    """The name itself, or ``"linear"`` for None; ValueError for a name that no activation has."""
    if activation is None:
        return "linear"
    if not isinstance(activation, str) or (activation not in PAIRS and activation not in FUNCTIONS):
        known = [*PAIRS, *(name for name in FUNCTIONS if name not in PAIRS)]
        raise ValueError(f"activation must be an activation's name, got {activation!r}; {did_you_mean(activation, known)}")
    return activation


def forward(name: str, x: Array) -> tuple[Array, Any]:
    """y = f(x), element by element; of a softmax over the last axis.

    Parameters
    ----------
    name : str
        As `activation_name` returns it.
    x : ndarray, shape (..., D), float32 or float64

    Returns
    -------
    y : ndarray, shape (..., D)
    saved
        What `backward` needs.
    """
    if name not in PAIRS:
        y = FUNCTIONS[name][0](x)
        return y, y
    return (x, None) if PAIRS[name] is None else PAIRS[name].forward(x)


def backward(name: str, dy: Array, saved: Any) -> Array:
    """dx (..., D), from dy (..., D) and what `forward` of the same name saved."""
    if name not in PAIRS:
        return dy * FUNCTIONS[name][1](saved)
    return dy if PAIRS[name] is None else PAIRS[name].backward(dy, saved)
