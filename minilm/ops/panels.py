"""Rows by weights that were packed once for many products (`minilm.ops.product.packed`), for use inside compiled kernels."""

from __future__ import annotations

from numba import types
from numba.extending import overload

from minilm.ops import tile
from minilm.ops.bfloat16 import multiply as multiply_bfloat16


def multiply(first, last, a, panels, c, add):
    """c[first:last] = a[first:last] @ B, or += with `add`, where `panels` is B (K, N) packed; a (., K), c (., N)."""
    raise NotImplementedError("for kernels")


@overload(multiply)
def _multiply(first, last, a, panels, c, add):
    if isinstance(panels, types.Array):  # the panels' type says in which precision
        return lambda first, last, a, panels, c, add: tile.multiply(first, last, a, panels, c, add)
    return lambda first, last, a, panels, c, add: multiply_bfloat16(first, last, a, panels, c, add)
