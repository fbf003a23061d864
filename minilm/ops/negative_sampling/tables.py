"""Walker's tables for drawing negatives, made by a kernel: of 10,000 words they took Python 3 ms.

Each of the V places that are drawn evenly holds a probability of 1 on average. What place i lacks to 1 is filled up with a part
of another place, alias[i], that has more; so a place that is too small is paired with one that is too large until none is left.

Source: A. J. Walker, An efficient method for generating discrete random variables with general distributions, ACM TOMS 3 (1977).
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit


@jit
def pair(left, accept, alias):
    """Fill accept and alias (V,) from left (V,), the probability of each word times V, which is written over."""
    small, large = np.empty(len(left), np.int64), np.empty(len(left), np.int64)  # stacks
    smalls = larges = 0
    for i in range(len(left)):
        accept[i], alias[i] = 1, i
        if left[i] < 1:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls and larges:
        smalls -= 1
        i, j = small[smalls], large[larges - 1]
        accept[i], alias[i] = left[i], j  # place i is i's own as far as it goes, the rest j's
        left[j] -= 1 - left[i]
        if left[j] < 1:
            small[smalls] = j
            smalls, larges = smalls + 1, larges - 1
