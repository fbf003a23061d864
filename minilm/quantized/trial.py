"""Products in int8 of many rows beside those of one row, by what MINILM_ISA names: see `minilm.compiled.trial`.

One row is multiplied by vectors, whatever else the processor has; the bits are the same.
"""

from __future__ import annotations

import numpy as np

from minilm.quantized import cpu, packing

SHAPES = ((70, 130, 65), (32, 64, 32), (33, 640, 96))  # (N, K, O): whole tiles, and what is left of them
GROUPS = (64, 128, None)


def main() -> None:
    """Raise ArithmeticError where a row's bits depend on the rows beside it."""
    rng = np.random.default_rng(0)
    for N, K, O in SHAPES:
        x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((N, K), (O, K)))
        for group in GROUPS:
            W = packing.packed(weight, "int8", group)
            out, alone = np.empty((N, O), np.float32), np.empty((N, O), np.float32)
            cpu.product(x, W, out)
            for n in range(N):
                cpu.product(x[n : n + 1], W, alone[n : n + 1])
            if not np.array_equal(out, alone):
                raise ArithmeticError(f"a product of ({N}, {K}) by ({K}, {O}) in groups of {group} is wrong")


if __name__ == "__main__":
    main()
