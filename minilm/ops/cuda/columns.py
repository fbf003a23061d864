"""Sums over the rows of a matrix on the GPU."""

from __future__ import annotations

import cupy

from minilm.ops.cuda.table import Kernel, Kernels, blocks

ROWS = 64  # at least so many to a part
PARTS = 256  # at most: so many are added one after the other
COLUMNS, LINES = 32, 8  # threads of a block side by side, and below one another

KERNELS = Kernels(
    __file__,
    Kernel("column_sums_of_parts", grid=lambda s: (-(-s.D // COLUMNS), s.P), block=(COLUMNS, LINES)),
    Kernel("column_sums", grid=lambda s: blocks(s.D)),
    defines={"COLUMNS": COLUMNS, "LINES": LINES},
)


def column_sums(x):
    """Sum over the rows of x (N, D): (D,)."""
    N, D = x.shape
    rows = max(ROWS, -(-N // PARTS))
    parts = -(-N // rows)
    if parts * D == 0:
        return cupy.zeros(D, x.dtype)
    part, total = cupy.empty((parts, D), x.dtype), cupy.empty(D, x.dtype)
    KERNELS.launch("column_sums_of_parts", x, part, N, D, parts, rows)
    KERNELS.launch("column_sums", part, total, D, parts)
    return total
