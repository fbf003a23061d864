"""Products of rows by weights that are packed once for all steps of a sequence, in the precision that holds."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from minilm.ops import bfloat16, panels, precision
from minilm.ops.bfloat16 import multiply as by_bfloat16
from minilm.ops.tile import multiply as by_tile


def packed(Ws, transposed: bool) -> tuple:
    """For each W the panels that `multiply` takes: of Wᵀ (``transposed``, W (N, K)) or of W (K, N)."""
    return (bfloat16.packed if precision.bfloat16(Ws[0].dtype) else panels.packed)(Ws, transposed)


def multiply(first, last, a, panels, c, add):
    """c[first:last] = a[first:last] @ B, or += with `add`, where `panels` is B (K, N) `packed`; a (., K), c (., N).

    For kernels: what the panels are says in which precision.
    """
    (by_tile if isinstance(panels, np.ndarray) else by_bfloat16)(first, last, a, panels, c, add)


@overload(multiply)
def _multiply(first, last, a, panels, c, add):
    if isinstance(panels, types.Array):
        return lambda first, last, a, panels, c, add: by_tile(first, last, a, panels, c, add)
    return lambda first, last, a, panels, c, add: by_bfloat16(first, last, a, panels, c, add)
