"""Keras's initializers by name, in Keras's orientation: a kernel is (inputs, outputs)."""

from __future__ import annotations

import difflib
import math

import numpy as np

from minilm.layers import initialisers

__all__ = ["initialiser"]

CUT = 0.87962566103423978  # standard deviation of a normal distribution cut at ±2


def _fans(shape):
    return (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])


def _scaled(kind: str, mode: str, scale: float):
    """Variance scaling: the variance is ``scale / n``, with n the number of inputs, or the mean of inputs and outputs."""

    def initialise(generator, shape):
        fan_in, fan_out = _fans(shape)
        variance = scale / max(1.0, fan_in if mode == "in" else (fan_in + fan_out) / 2)
        if kind == "uniform":
            bound = math.sqrt(3 * variance)
            return generator.uniform(-bound, bound, shape)
        return _truncated(generator, shape, math.sqrt(variance) / CUT)

    return initialise


def _truncated(generator, shape, deviation: float):
    """Normal numbers, drawn anew beyond two standard deviations."""
    drawn = generator.standard_normal(shape)
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = generator.standard_normal(int(far.sum()))
    return deviation * drawn


def _orthogonal(generator, shape):
    """One matrix with orthonormal rows or columns, over all gates at once, as Keras has it."""
    return initialisers.orthogonal()(generator, shape)


NAMED = {
    "zeros": initialisers.constant(0),
    "ones": initialisers.constant(1),
    "uniform": initialisers.uniform(0.05),
    "random_uniform": initialisers.uniform(0.05),
    "normal": initialisers.normal(0.05),
    "random_normal": initialisers.normal(0.05),
    "truncated_normal": lambda generator, shape: _truncated(generator, shape, 0.05),
    "glorot_uniform": _scaled("uniform", "mean", 1),
    "glorot_normal": _scaled("normal", "mean", 1),
    "he_uniform": _scaled("uniform", "in", 2),
    "he_normal": _scaled("normal", "in", 2),
    "lecun_uniform": _scaled("uniform", "in", 1),
    "lecun_normal": _scaled("normal", "in", 1),
    "orthogonal": _orthogonal,
}


def initialiser(argument: str, given):
    """The function ``initialise(generator, shape)`` of a name, or of a function that is one already."""
    if callable(given):
        return given
    if given not in NAMED:
        near = difflib.get_close_matches(str(given), NAMED, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(NAMED)}"
        raise ValueError(f"{argument} must be an initializer's name or a function of (generator, shape), got {given!r}; {hint}")
    return NAMED[given]
