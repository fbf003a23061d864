"""The global norm on the CPU: one pass over memory."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import REASSOC, jit
from minilm.ops.workspace import empty, scratch

CHUNK = 16384  # elements a partial sum covers: fixed, so that the bits do not depend on the number of threads


@jit(fastmath=REASSOC)
def _squares(start, stop, grad, partial):
    # chunks [start, stop) of grad (N,) -> partial (chunks,) float64
    for chunk in range(start, stop):
        part = grad[chunk * CHUNK : (chunk + 1) * CHUNK]
        total = 0.0
        for i in range(len(part)):
            g = np.float64(part[i])
            total += g * g
        partial[chunk] = total


def squares(grad):
    """The sums of squares of grad's chunks: (chunks,) float64."""
    partial = empty((-(-grad.size // CHUNK),), np.float64)
    devices.parallel(_squares, len(partial), grad.reshape(-1), partial, grain=4)
    return partial


def norm(grad):
    with scratch():
        return grad.dtype.type(math.sqrt(squares(grad).sum()))
