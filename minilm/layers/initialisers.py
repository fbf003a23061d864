"""What parameters start from: each function returns ``initialise(generator, shape) -> ndarray`` of float64.

Numbers are drawn in float64 and rounded to the layer's dtype afterwards, so that a float32 and a float64 layer of one
seed start from the same numbers. What the functions return can be pickled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Initialiser: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def constant(number: float) -> Initialiser:
    """Every element equal to `number`."""
    return functools.partial(_constant, float(number))


def _constant(number, generator, shape):
    return np.full(shape, number)


def normal(deviation: float = 1.0, mean: float = 0.0) -> Initialiser:
    """Independent normal numbers."""
    return functools.partial(_normal, deviation, mean)


def _normal(deviation, mean, generator, shape):
    return mean + deviation * generator.standard_normal(shape)


def uniform(bound: float) -> Initialiser:
    """Independent numbers, uniform in [-bound, bound)."""
    return functools.partial(_uniform, bound)


def _uniform(bound, generator, shape):
    return generator.uniform(-bound, bound, shape)


def kaiming_uniform(fan_in: int, gain: float = math.sqrt(1 / 3)):
    """Uniform with standard deviation ``gain / sqrt(fan_in)``.

    The default gain is that of PyTorch's Linear, whose ``a = sqrt(5)`` gives ``sqrt(2 / (1 + a**2)) = sqrt(1/3)``: the
    bound is then ``1 / sqrt(fan_in)``.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers, ICCV 2015.
    """
    return uniform(math.sqrt(3) * gain / math.sqrt(max(1, fan_in)))


def xavier_uniform(gain: float = 1.0) -> Initialiser:
    """Uniform with variance ``2 gain² / (fan_in + fan_out)``, of a matrix (fan_out, fan_in).

    References
    ----------
    X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """
    return functools.partial(_xavier_uniform, gain)


def _xavier_uniform(gain, generator, shape):
    return generator.uniform(-1, 1, shape) * gain * math.sqrt(6 / (shape[0] + shape[1]))


def orthogonal(blocks: int = 1, gain: float = 1.0) -> Initialiser:
    """`blocks` random matrices with orthonormal rows or columns, one below the other: (blocks * H, D).

    A recurrent weight W_hh (G*H, H) holds one matrix for each of its G gates, so `blocks` is G.

    References
    ----------
    A. M. Saxe, J. L. McClelland, S. Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks, ICLR 2014.
    """
    return functools.partial(_orthogonal, blocks, gain)


def _orthogonal(blocks, gain, generator, shape):
    rows, columns = shape
    if rows % blocks:
        raise ValueError(f"shape {shape} does not hold {blocks} blocks of equal size")
    parts = []
    for _ in range(blocks):
        A = generator.standard_normal((rows // blocks, columns))  # (H, D)
        tall = A if A.shape[0] >= A.shape[1] else A.T
        Q, R = np.linalg.qr(tall)
        Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)  # makes the distribution uniform over the orthogonal matrices
        parts.append(Q if A.shape[0] >= A.shape[1] else Q.T)
    return gain * np.concatenate(parts)  # (blocks * H, D)
