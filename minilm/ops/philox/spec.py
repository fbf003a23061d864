"""Philox 4x32-10: random numbers that are a function of a key and a counter, with no state.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
c         (4,)        counter: four words of 32 bits
k         (2,)        key: two words
bits      (N,)        32 random bits an element; all axes are folded into N
========  ==========  =====================================================

Definition. One block of four words comes from a counter c and a key k by ten rounds; hi and lo are the upper and lower
32 bits of a product of 64::

    c0' = hi(M1 c2) xor c1 xor k0        M0 = 0xD2511F53        k0' = k0 + 0x9E3779B9
    c1' = lo(M1 c2)                      M1 = 0xCD9E8D57        k1' = k1 + 0xBB67AE85      between rounds, modulo 2**32
    c2' = hi(M0 c0) xor c3 xor k1
    c3' = lo(M0 c0)

From a `minilm.random.Key` (seed, step, place), each of 64 bits and split into halves of 32::

    k = (seed_lo, seed_hi xor place_hi)      c = (block, place_lo, step_lo, step_hi)

Element i is word i mod 4 of block i div 4, so that up to 2**34 elements share a key. Numbers in [0, 1) are whole multiples of
2**-24 (float32, the upper 24 bits of one word) or of 2**-53 (float64, the upper 27 bits of word 2i and the upper 26 of word
2i + 1).

No derivative: this is no function of real numbers. An op whose backward needs the same random numbers draws them again.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import numpy as np

from minilm.random import Key

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
MOST = 2**34  # elements under one key: a block's number has 32 bits


def words(key: Key) -> np.ndarray:
    """The key's two words, then the counter's three behind the block's number: uint32, (5,)."""
    low = 2**32 - 1
    seed, step, place = key
    return np.array([seed & low, seed >> 32 ^ place >> 32, place & low, step & low, step >> 32], np.uint32)
