"""Products in bfloat16 beside NumPy's, by what MINILM_ISA names: see `minilm.compiled.trial`."""

from __future__ import annotations

import numpy as np

from minilm.ops.bfloat16.blocks import product

SHAPES = ((33, 70, 40), (64, 256, 96), (1, 2, 1))  # (M, K, N): whole tiles, and what is left of them


def main() -> None:
    """Raise ArithmeticError where a product is further from the exact one than float32 sums are."""
    rng = np.random.default_rng(0)
    for M, K, N in SHAPES:
        a, W = (rng.integers(-127, 128, shape).astype(np.float32) / 64 for shape in ((M, K), (N, K)))  # which bfloat16 holds
        out = np.full((M, N), np.nan, np.float32)
        product(a, W, out, transposed=True)
        exact, size = a.astype(np.float64) @ W.T.astype(np.float64), np.abs(a) @ np.abs(W).T  # (M, N)
        if not (np.abs(out - exact) <= 1e-5 * size).all():
            raise ArithmeticError(f"a product of ({M}, {K}) by ({K}, {N}) is wrong")


if __name__ == "__main__":
    main()
