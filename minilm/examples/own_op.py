"""A function of one's own, with its gradient by hand, held against finite differences: RMSNorm.

    y = gamma x / r,     r = sqrt(mean(x²) + eps)

r depends on every x of its row: ∂r/∂x_i = x_i / (D r). So with g = gamma dy, the gradient by y of which gamma is taken off::

    dx_i = g_i / r - (sum_j g_j x_j) / r² ∂r/∂x_i = (g_i - x_i (mean_j g_j x_j) / r²) / r
    dgamma = sum over the rows of dy x / r

Exercise: leave out the second term of dx, and read what the check prints. (The same in full: `minilm show rms_norm`.)
"""

from __future__ import annotations

import numpy as np

import minilm
from minilm import ops

EPS = 1e-6


class rms_norm:
    """The pair of functions; anything with these two names can be checked."""

    @staticmethod
    def forward(x, gamma):
        r = np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS)  # (N, 1)
        return gamma * x / r, (x, gamma, r)  # y (N, D), saved

    @staticmethod
    def backward(dy, saved):
        x, gamma, r = saved
        g = gamma * dy  # (N, D)
        dx = (g - x * (g * x).mean(axis=-1, keepdims=True) / r**2) / r  # (N, D)
        return dx, (dy * x / r).sum(axis=0)  # dgamma (D,)


def main(rows: int = 5) -> bool:
    """Check the gradient, and compare with minilm's own op; whether both agree."""
    rng = np.random.default_rng(0)
    x, gamma = rng.normal(size=(rows, 7)), rng.normal(size=7)
    report = minilm.gradcheck(rms_norm, x, gamma)
    print(report)
    same = np.allclose(rms_norm.forward(x, gamma)[0], ops.rms_norm.forward(x, gamma, eps=EPS)[0], rtol=1e-12)
    print(f"equal to minilm.ops.rms_norm: {same}")
    return report.passed and bool(same)


if __name__ == "__main__":
    main()
