"""Philox on the CPU: many blocks at once, a lane of a vector register each."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.philox.spec import M0, M1, ROUNDS, W0, W1, words
from minilm.ops.workspace import empty

CHUNK = 1024  # elements that are drawn at once
_M0, _M1 = np.uint64(M0), np.uint64(M1)
_W0, _W1 = np.uint32(W0), np.uint32(W1)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@jit(inline="always")
def _block(c0, c1, c2, c3, k0, k1):
    """One block: counter and key in, four random words out; uint32 in uint64, so that a product is whole."""
    for _ in range(ROUNDS):
        product0 = c0 * _M0
        product1 = c2 * _M1
        c0 = (product1 >> _32) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _32) ^ c3 ^ np.uint64(k1)
        c1 = product1 & _LOW
        c3 = product0 & _LOW
        k0 = np.uint32(k0 + _W0)
        k1 = np.uint32(k1 + _W1)
    return c0, c1, c2, c3


@jit
def fill(first, key, out):
    """Words of the blocks from number `first` on: key (5,) from `words`, out (4, B), a row for each word of a block."""
    k0, k1, place, step_lo, step_hi = key[0], key[1], np.uint64(key[2]), np.uint64(key[3]), np.uint64(key[4])
    w0, w1, w2, w3 = out[0], out[1], out[2], out[3]
    for b in range(len(w0)):
        c0, c1, c2, c3 = _block(np.uint64(first + b) & _LOW, place, step_lo, step_hi, k0, k1)
        w0[b] = np.uint32(c0)
        w1[b] = np.uint32(c1)
        w2[b] = np.uint32(c2)
        w3[b] = np.uint32(c3)


@jit
def _bits(start, stop, key, out):
    # chunks [start, stop) of out (N,)
    drawn = np.empty((4, CHUNK // 4), np.uint32)  # (4, B)
    for chunk in range(start, stop):
        fill(chunk * (CHUNK // 4), key, drawn)
        part = out[chunk * CHUNK : (chunk + 1) * CHUNK]
        for i in range(len(part)):
            part[i] = drawn[i & 3, i >> 2]


def bits(key, shape):
    out = empty(shape, np.uint32)  # (...)
    devices.parallel(_bits, -(-out.size // CHUNK), words(key), out.reshape(-1), grain=16)
    return out
