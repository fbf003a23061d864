"""Dropout: random zeros during training; what it is, its gradient, and what it saves.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
x         (N, T, D)   inputs; all axes are alike, but for one that may be shared
r         (N, T, D)   32 random bits an element (`minilm.ops.philox`); the shared axis has size 1
y         (N, T, D)   outputs
========  ==========  =====================================================

Forward. An element is dropped with probability p, and the others are scaled so that the mean stays what it was::

    y[i] = x[i] k[i],        k[i] = 1 / (1 - p) where r[i] >= p 2³²,  else 0

k does not depend on x, and the expectation of k is 1. For p = 1 all k are 0, as in PyTorch. A NaN or an infinity that is
dropped gives NaN, also as in PyTorch.

With ``shared_axis`` all elements along this axis share one decision: r has size 1 there. On the time axis this is the
variational dropout of recurrent networks, the same mask at every step.

Backward. k is a constant::

    dx[i] = dy[i] k[i]

Saved: p, the key, the shape, and the shared axis. k is not stored: backward draws it again from the key.

Sources: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout: a simple way to prevent neural
networks from overfitting, JMLR 15 (2014), 1929-1958; Y. Gal, Z. Ghahramani, A theoretically grounded application of
dropout in recurrent neural networks, NIPS 2016.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np

from minilm.random import Key


class Saved(NamedTuple):
    """What backward needs."""

    p: float
    key: Key
    shape: tuple[int, ...]  # of x
    dtype: np.dtype  # of x
    shared_axis: int | None  # in [0, number of axes)


def threshold_and_scale(p: float) -> tuple[int, float]:
    """An element is kept, and multiplied by the scale, where its bits reach the threshold."""
    return (0, 0.0) if p == 1 else (min(ceil(p * 2**32), 2**32 - 1), 1 / (1 - p))
