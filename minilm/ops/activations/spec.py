"""Elementwise activations: sigmoid, tanh, relu, SiLU, and the two forms of GELU; their gradients, and what they save.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
x         (N,)        inputs; all axes are folded into N
y         (N,)        outputs, y[n] = f(x[n])
========  ==========  =====================================================

Forward::

    sigmoid     σ(x) = 1 / (1 + exp(-x))
    tanh        tanh(x) = 2 σ(2x) - 1
    relu        max(x, 0)
    silu        x σ(x)                                                also called swish
    gelu_erf    x Φ(x),                Φ(x) = (1 + erf(x / √2)) / 2 = erfc(-x / √2) / 2
    gelu_tanh   x (1 + tanh u) / 2,    u = √(2/π) (x + 0.044715 x³)          an approximation of gelu_erf, GPT-2's

Backward. All are elementwise, so dx = dy f'(x), and f' is::

    sigmoid     e / (1 + e)²  with e = exp(-x)                        = y (1 - y)
    tanh        1 - tanh²(x)                                          = 1 - y²
    relu        1 where x > 0, 0 where x < 0; at 0 we take 0          = [y > 0]
    silu        s + x s (1 - s)  with s = σ(x)
    gelu_erf    Φ(x) + x φ(x),         φ(x) = Φ'(x) = exp(-x²/2) / √(2π)
    gelu_tanh   (1 + t) / 2 + x (1 - t²) u' / 2,   t = tanh u,  u' = √(2/π) (1 + 3 · 0.044715 x²)

The two GELUs differ by up to 5e-4, and so do their gradients: each backward belongs to its own forward.

Saved: y for the first three, whose derivative is a function of it: x may then be forgotten. SiLU and the GELUs are not
monotone, so y does not determine x, and x is saved.

Sources: D. Hendrycks, K. Gimpel, Gaussian error linear units (GELUs), arXiv:1606.08415; V. Nair, G. E. Hinton, Rectified
linear units improve restricted Boltzmann machines, ICML 2010; S. Elfwing, E. Uchibe, K. Doya, Sigmoid-weighted linear units,
arXiv:1702.03118 (SiLU).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SavedOutput(NamedTuple):
    """What backward of sigmoid, tanh and relu needs."""

    y: np.ndarray  # (...)


class SavedInput(NamedTuple):
    """What backward of SiLU and of the GELUs needs."""

    x: np.ndarray  # (...)
