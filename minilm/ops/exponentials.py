"""Exponentials of a row of scores and their sum, which softmax and cross-entropy begin with on the CPU."""

from __future__ import annotations

from minilm.compiled.jit import REASSOC, jit
from minilm.ops import simd

SHORT = 64  # numbers: rows from this length on are as long as the widest step of a vectorised loop, 256 bytes


@jit(fastmath=REASSOC, part=True, counted=False)
def exponentials(row, m, out):
    """``out = exp(row - m)``; returns the sum of `out`.

    The compiler guards a loop that reads one array, writes another and sums: where the two begin within a step of each other it
    runs number by number, and the sum has another order and other last bits. That happens to short rows alone, which therefore
    have two loops: so no result depends on where arrays lie in memory.
    """
    s = row.dtype.type(0)
    if len(row) < SHORT:
        for v in range(len(row)):
            out[v] = simd.exp(row[v] - m)
        for v in range(len(row)):
            s += out[v]
    else:
        for v in range(len(row)):
            e = simd.exp(row[v] - m)
            out[v] = e
            s += e
    return s
