"""Products in bfloat16 on the CPU: what ``minilm.precision("bf16")`` makes of float32 products.

Operands are rounded to bfloat16 as they are packed, products are summed in float32, and weights, gradients and everything between
products stay float32. In reading order:

operands.py
    rounding, and the two layouts of packed operands, pairs of numbers along k.
pair_tile.py
    the register tile by ``vdpbf16ps``: AVX512-BF16 (AMD from Zen 4 on, Intel's Cooper Lake and from Sapphire Rapids on).
matrix_tile.py
    the matrix tile by ``tdpbf16ps``: AMX (Intel from Sapphire Rapids on). The page on how a matrix unit is kept busy.
panels.py
    which of the two multiplies.
blocks.py
    whole products, blocked for the caches.
weights.py
    products by weights that are packed once for many of them, as recurrent layers need them.

Against the exact product of the rounded operands a result's error is that of a sum of K terms in float32, as in
`minilm.ops.product`; against the product of the float32 operands it is some 2**-8 of the terms' size, from the rounding.
Its bits depend on the instruction, since the two add in different orders, and on nothing else: `minilm info` names it.
"""

from __future__ import annotations

from minilm.ops.bfloat16.blocks import product, transposed_product
from minilm.ops.bfloat16.weights import multiply, packed

__all__ = ["multiply", "packed", "product", "transposed_product"]


def __dir__() -> list[str]:
    return sorted(__all__)
