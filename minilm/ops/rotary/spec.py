"""Rotary positions: pairs of numbers rotated by an angle that grows with the position; the gradient, and what is saved.

===========  ================  =====================================================
array        shape             meaning
===========  ================  =====================================================
x            (B, T, H, K)      queries or keys: H heads of K numbers
positions    (B, T)            of each token, in [0, P); None: 0, 1, ..., T - 1
cos, sin     (P, R/2)          of the angles p f[r], for every position p; R <= K is even
y            (B, T, H, K)      outputs
===========  ================  =====================================================

Forward. The first R numbers of a head are R/2 pairs (a, b), the others stay as they are. With c, s the row of the tables at the
token's position::

    y[a] = x[a] c[r] - x[b] s[r]
    y[b] = x[a] s[r] + x[b] c[r]

Pair r is (x[r], x[r + R/2]), as Hugging Face stores Llama's weights, or with `interleaved` (x[2r], x[2r + 1]), as the paper and
Meta's own files have it. The two differ by a permutation of the weights' rows alone.

Angles are p f[r] with f[r] = base^(-2r/R), so the first pairs turn fast and the last ones slowly. A query at p and a key at q are
both rotated, and their product depends on p - q alone::

    ⟨rotated(x, p), rotated(z, q)⟩ = ⟨rotated(x, p - q), z⟩

which is what makes the positions relative. `minilm.ops.rotary.tables` makes the tables.

Backward. A rotation is linear in x and its transpose turns back::

    dx[a] =  dy[a] c[r] + dy[b] s[r]
    dx[b] = -dy[a] s[r] + dy[b] c[r]

The tables are constants and have no gradient.

Saved: tables, positions and layout; nothing of x's size.

Source: J. Su, Y. Lu, S. Pan, A. Murtadha, B. Wen, Y. Liu, RoFormer: enhanced transformer with rotary position embedding,
arXiv:2104.09864.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    cos: np.ndarray  # (P, R/2)
    sin: np.ndarray  # (P, R/2)
    positions: np.ndarray | None  # (B, T)
    interleaved: bool
    shape: tuple[int, ...]  # of x
