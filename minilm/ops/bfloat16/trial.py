"""Products in bfloat16 beside NumPy's, by what MINILM_ISA names: see `minilm.compiled.trial`."""

from __future__ import annotations

import numpy as np

from minilm.ops.bfloat16.blocks import product

SHAPES = ((33, 70, 40), (64, 256, 96), (1, 2, 1))  # (M, K, N): whole tiles, and what is left of them


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 rounded to bfloat16, ties to even, as float64."""
    bits = x.view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def main() -> None:
    """Raise ArithmeticError where a product is further from the exact one than float32 sums are."""
    rng = np.random.default_rng(0)
    for M, K, N in SHAPES:
        a, W = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (N, K)))
        out = np.full((M, N), np.nan, np.float32)
        product(a, W, out, transposed=True)
        exact, size = rounded(a) @ rounded(W).T, np.abs(a) @ np.abs(W).T  # (M, N)
        if not (np.abs(out - exact) <= 1e-5 * size).all():
            raise ArithmeticError(f"a product of ({M}, {K}) by ({K}, {N}) is wrong")


if __name__ == "__main__":
    main()
