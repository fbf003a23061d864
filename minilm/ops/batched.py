"""Products of small matrices, many of a batch at once, on minilm's threads: `minilm.layers.products` for NumPy's arrays.

A part is a chunk of rows of one product. It packs the right matrix a panel at a time, where the tile will read it, and multiplies
its rows by it, as `minilm.ops.product` does with large ones; in float32 under every precision. Each number of the result is one
chain of multiply-adds over k in order, so its bits know nothing of the chunks.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.panels import pack_rows, pack_transposed
from minilm.ops.product import WORTH
from minilm.ops.tile import ROWS, WIDTH32, WIDTH64, multiply_panel

__all__ = ["batched_product"]

CHUNK = 16 * ROWS  # rows


@jit
def _multiply(start, stop, a, b, c, transposed, chunks):
    # parts [start, stop) of c (B, M, N) = a (B, M, K) by b (B, K, N), or with `transposed` by bᵀ, b (B, N, K)
    (_, M, K), N = a.shape, c.shape[2]
    width = WIDTH32 if a.itemsize == 4 else WIDTH64
    panels, edge = np.empty((1, K, width), a.dtype), np.empty((ROWS, width), a.dtype)
    for part in range(start, stop):
        i, first = part // chunks, part % chunks * CHUNK
        last = min(M, first + CHUNK)
        for p in range(-(-N // width)):
            if transposed:
                pack_transposed(b[i], p * width, 0, K, panels[0])
            else:
                pack_rows(b[i], p * width, 0, K, panels)
            multiply_panel(a[i, first:last], panels[0], edge, c[i, first:last], p * width, False)


def batched_product(a: np.ndarray, b: np.ndarray, out: np.ndarray, *, transposed: bool) -> None:
    """out (B, M, N) = a (B, M, K) by b (B, K, N), or with `transposed` by bᵀ, b (B, N, K); all C-contiguous."""
    (B, M, K), N = a.shape, out.shape[2]
    chunks = -(-M // CHUNK)
    work = max(1, min(M, CHUNK) * N * K)  # multiply-adds of a part
    devices.parallel(_multiply, B * chunks, a, b, out, transposed, chunks, grain=max(1, WORTH // work))
