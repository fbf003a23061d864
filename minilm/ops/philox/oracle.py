"""Philox in plain NumPy, a line of code a line of definition."""

from __future__ import annotations

import math

import numpy as np

from minilm.ops.philox.spec import M0, M1, ROUNDS, W0, W1, words


def blocks(counter, key):
    """(B, 4) counters and a key of two words -> (B, 4) random words, all uint32."""
    c0, c1, c2, c3 = counter.astype(np.uint64).T  # (B,) each; 64 bits, so that a product is whole
    k0, k1 = (int(word) for word in key)
    low = np.uint64(2**32 - 1)
    for _ in range(ROUNDS):
        product0 = c0 * np.uint64(M0)  # (B,)
        product1 = c2 * np.uint64(M1)  # (B,)
        c0 = (product1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0)  # (B,)
        c2 = (product0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1)  # (B,)
        c1 = product1 & low  # (B,)
        c3 = product0 & low  # (B,)
        k0 = (k0 + W0) % 2**32
        k1 = (k1 + W1) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)  # (B, 4)


def bits(key, shape):
    N = math.prod(shape)
    k0, k1, *place_and_step = words(key)
    counter = np.empty((-(-N // 4), 4), np.uint32)  # (B, 4)
    counter[:, 0] = np.arange(len(counter))  # (B,) the block's number
    counter[:, 1:] = place_and_step
    return blocks(counter, (k0, k1)).reshape(-1)[:N].reshape(shape)
