"""Products of rows by weights that are rounded and packed once for many of them: those of recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import target
from minilm.ops.bfloat16.blocks import BLOCK, EDGE, MOST, NARROW, multiply_rows
from minilm.ops.bfloat16.matrix_tile import HIGH
from minilm.ops.bfloat16.operands import BYTES, DEPTH, LANES, WIDTH, pack_panels, pack_panels_transposed, round_row
from minilm.ops.bfloat16.panels import KINDS
from minilm.ops.memory import address, place
from minilm.ops.workspace import empty


@jit
def _pack(start, stop, W, step, transposed, K, N, panels):
    # panels [start, stop) of W (K, N), or with `transposed` of Wᵀ, W (N, K)
    column, last = start * WIDTH, min(N, stop * WIDTH)
    to, panel_step = address(panels) + start * panels.strides[0], panels.strides[0]
    if transposed:
        pack_panels_transposed(W + column * step, step, K, last - column, to, panel_step)
    else:
        pack_panels(W + column * BYTES, step, K, last - column, to, panel_step)
    panels[0, 0, 0] = panels[0, 0, 0]  # in use until here


def packed(Ws: Sequence[np.ndarray], transposed: bool) -> tuple:
    """For each W the panels (panels, words, WIDTH) of Wᵀ (``transposed``, W (N, K)) or of W (K, N), in the processor's kind."""
    every, kind = [], KINDS[target.bfloat16_unit()]
    for W in Ws:
        N, K = W.shape if transposed else W.shape[::-1]
        panels = empty((-(-N // WIDTH), -(-K // DEPTH) * LANES, WIDTH), np.uint32)
        grain = max(1, 2**16 // max(1, WIDTH * K))
        devices.parallel(_pack, len(panels), *place(W), transposed, K, N, panels, grain=grain)
        every.append(kind(panels))
    return tuple(every)


@jit
def multiply(first, last, a, panels, c, add):
    """c[first:last] = a[first:last] @ B, or += with `add`, where `panels` is B (K, N) packed; a (., K), c (., N)."""
    rows, K, N = last - first, a.shape[1], c.shape[1]
    words = -(-K // DEPTH) * LANES
    rounded = np.empty((-(-rows // HIGH) * HIGH, words), np.uint32)
    spare = np.empty(NARROW + EDGE, np.uint32)
    for r in range(rows):
        round_row(address(a) + (first + r) * a.strides[0], K, address(rounded) + r * rounded.strides[0])
    left, right, step = address(rounded), address(panels.words), panels.words.strides[0]
    for k in range(0, K, BLOCK):
        count = -(-min(BLOCK, K - k) // 2)
        for row in range(0, rows, MOST):
            height, to = min(MOST, rows - row), address(c) + (first + row) * c.strides[0]
            start, panel = left + (row * words + k // 2) * BYTES, right + k // 2 * WIDTH * BYTES
            whole = add or k > 0
            multiply_rows(panels, start, words * BYTES, height, panel, step, N, to, c.strides[0], count, whole, address(spare))
    rounded[0, 0] = spare[0] + a.shape[0] + c.shape[0]  # all are in use until here
