"""Passes over flat arrays that no op is made of: sums of two (`minilm.layers.residual`), a running mean of weights, a copy."""

from __future__ import annotations

import math

from minilm.compiled.jit import jit

__all__ = ["add", "add_to", "add_to_rows", "copy", "move_towards"]


@jit(counted=False)
def add(start, stop, x, y, out):
    """out = x + y, (N,) each."""
    x, y, out = x[start:stop], y[start:stop], out[start:stop]
    for n in range(len(out)):
        out[n] = x[n] + y[n]


@jit(counted=False)
def add_to(start, stop, out, x):
    """out += x, (N,) each: with `add` a compiler does not know that the two it is given as one are no others that overlap."""
    x, out = x[start:stop], out[start:stop]
    for n in range(len(out)):
        out[n] += x[n]


@jit(counted=False)
def add_to_rows(start, stop, out, rows, x):
    """out[rows] += x for rows that are all different: out (V, D), rows (N,), x (N, D)."""
    for n in range(start, stop):
        total, term = out[rows[n]], x[n]
        for d in range(len(term)):
            total[d] += term[d]


@jit(inline="always")
def copy(x, out):
    """out = x, (N,) each, for kernels; the sizes are not checked.

    With ``out[:] = x`` Numba compiles a message of both shapes, which takes it 3 s.
    """
    for n in range(len(x)):
        out[n] = x[n]


@jit(fastmath=frozenset(), counted=False)
def move_towards(start, stop, average, target, rate):
    """average += rate (target - average), (N,) each; infinite numbers, which forbid tags, have no mean."""
    average, target = average[start:stop], target[start:stop]
    for n in range(len(average)):
        moved = average[n] + rate * (target[n] - average[n])
        average[n] = target[n] if abs(target[n]) == math.inf else moved
