"""The types of GGUF's arrays: numbers as they are, or quantised in blocks that share a scale d, and some a minimum m.

::

    Q8_0    d (f16), 32 q (i8)                                       x[n] = d q[n]
    Q4_0    d (f16), 16 bytes of two q each                          x[n] = d (q[n] - 8)
    Q4_1    d (f16), m (f16), 16 bytes of two q each                 x[n] = d q[n] + m
    Q6_K    128 bytes of low bits, 64 of high bits, 16 s (i8), d     x[n] = d s[n / 16] (q[n] - 32),      blocks of 256

Of the two q of byte j in Q4 the low four bits are number j of the block, the high ones number j + 16.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.typing import Array

__all__ = ["TYPES", "Block", "dequantised", "parts"]


class Block(NamedTuple):
    """What a type stores together."""

    name: str
    numbers: int
    nbytes: int


TYPES = {
    0: Block("F32", 1, 4),
    1: Block("F16", 1, 2),
    2: Block("Q4_0", 32, 18),
    3: Block("Q4_1", 32, 20),
    8: Block("Q8_0", 32, 34),
    14: Block("Q6_K", 256, 210),
    30: Block("BF16", 1, 2),
}


def dequantised(content: bytes, kind: int) -> Array:
    """The numbers (N,), float32, of whole blocks of a type."""
    block = TYPES[kind]
    if block.name in ("F32", "F16"):
        return np.frombuffer(content, "<f4" if block.name == "F32" else "<f2").astype(np.float32)
    if block.name == "BF16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = np.frombuffer(content, np.uint8).reshape(-1, block.nbytes)  # (n, bytes)
    return {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q8_0": _q8_0, "Q6_K": _q6_k}[block.name](blocks).reshape(-1)


def parts(blocks: Array, kind: int) -> tuple[Array | None, Array | None, Array | None]:
    """What blocks (O, G, bytes) of a matrix hold: codes (O, K), scales and least numbers (O, G), float16.

    Codes are uint8 of Q4_0, whose least number is -8 d, and Q4_1, int8 of Q8_0, without least numbers; None of other types.
    """
    name, rows = TYPES[kind].name, len(blocks)
    if name not in ("Q4_0", "Q4_1", "Q8_0"):
        return None, None, None
    d = _stored_half(blocks, 0)[..., 0]  # (O, G)
    if name == "Q8_0":
        return np.ascontiguousarray(blocks[..., 2:]).view(np.int8).reshape(rows, -1), d, None
    m = _stored_half(blocks, 2)[..., 0] if name == "Q4_1" else -8 * d
    return _nibbles(blocks[..., 4 if name == "Q4_1" else 2 :]).reshape(rows, -1), d, m


def _stored_half(blocks, first: int):
    """The float16 at some byte of each block, (..., 1)."""
    return np.ascontiguousarray(blocks[..., first : first + 2]).view("<f2")


def _half(blocks, first: int):
    return _stored_half(blocks, first).astype(np.float32)


def _nibbles(quarters):
    """Low halves of all bytes, then high halves: (..., k) -> (..., 2k)."""
    return np.concatenate([quarters & 15, quarters >> 4], axis=-1)


def _q4_0(blocks):
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)  # (n, 32)


def _q4_1(blocks):
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)  # (n, 32)


def _q8_0(blocks):
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8)  # (n, 32)


def _q6_k(blocks):
    low = blocks[:, :128].reshape(-1, 2, 2, 32)  # (n, half, which 32 bytes, 32)
    low = np.stack([low & 15, low >> 4], axis=2)  # (n, half, low or high bits, which 32 bytes, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(2, 2, 1)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 1, 32) >> shifts & 3  # (n, half, 2, 2, 32)
    q = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - 32  # (n, scale, 16)
    s = blocks[:, 192:208].view(np.int8).astype(np.float32)  # (n, 16)
    return (_half(blocks, 208) * s)[:, :, None] * q  # (n, 16, 16)
