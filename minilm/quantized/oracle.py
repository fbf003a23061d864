"""Quantisation in plain NumPy, a line of code a line of formula: `minilm.quantized.spec`."""

from __future__ import annotations

import numpy as np

from minilm.quantized.spec import SMALL_GROUP


def quantize(w, group):
    """Codes int8 (..., K) and scales (..., G) of w (..., K) in groups of `group`; the last may be shorter."""
    *lead, K = w.shape
    starts = range(0, K, group)
    largest = np.stack([np.abs(w[..., k : k + group]).max(axis=-1) for k in starts], axis=-1)  # (..., G)
    scales = largest / np.float32(127)  # (..., G)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)  # (..., G)
    codes = np.rint(w * np.repeat(inverse, group, axis=-1)[..., :K])  # (..., K)
    return codes.astype(np.int8), scales


def dequantize(codes, scales, group):
    """w (..., K) ≈ scales (..., G) times codes (..., K)."""
    return codes * np.repeat(scales, group, axis=-1)[..., : codes.shape[-1]]


def quantize_int4(w):
    """Codes uint8 (..., K) of 0 to 15, scales and least numbers float16 (..., G) of w (..., K) in groups of SMALL_GROUP."""
    *lead, K = w.shape
    groups = [w[..., k : k + SMALL_GROUP] for k in range(0, K, SMALL_GROUP)]
    least = np.stack([part.min(axis=-1) for part in groups], axis=-1).astype(np.float16)  # (..., G)
    largest = np.stack([part.max(axis=-1) for part in groups], axis=-1)  # (..., G)
    spans = np.maximum(largest - least.astype(np.float32), 0)  # (..., G): least may have been rounded up
    scales = (spans / np.float32(15)).astype(np.float16)  # (..., G)
    m, d = (np.repeat(each.astype(np.float32), SMALL_GROUP, axis=-1)[..., :K] for each in (least, scales))
    codes = np.rint(np.divide(w - m, d, out=np.zeros_like(w), where=d > 0))  # (..., K)
    return codes.clip(0, 15).astype(np.uint8), scales, least


def dequantize_int4(codes, scales, least):
    """w (..., K) ≈ scales (..., G) times codes (..., K), and the least numbers (..., G)."""
    d, m = (np.repeat(each.astype(np.float32), SMALL_GROUP, axis=-1)[..., : codes.shape[-1]] for each in (scales, least))
    return d * codes + m


def product_int4(x, codes, scales, least):
    """y (N, O) ≈ x (N, K) Wᵀ for W (O, K) in codes, scales and least numbers."""
    p, t = quantize(x, SMALL_GROUP)  # (N, K), (N, G)
    d, m = scales.astype(np.float32), least.astype(np.float32)  # (O, G) each
    y = np.zeros((len(x), len(codes)), x.dtype)  # (N, O)
    for number, k in enumerate(range(0, x.shape[1], SMALL_GROUP)):
        part = p[:, k : k + SMALL_GROUP].astype(np.int32)  # (N, g)
        n, total = part @ codes[:, k : k + SMALL_GROUP].astype(np.int32).T, part.sum(axis=1)  # (N, O), (N,)
        y += n.astype(x.dtype) * (t[:, number, None] * d[:, number])
        y += (t[:, number] * total.astype(x.dtype))[:, None] * m[:, number]
    return y


def product(x, codes, scales, group):
    """y (N, O) ≈ x (N, K) Wᵀ for W (O, K) in codes and scales."""
    p, t = quantize(x, group)  # (N, K), (N, G)
    y = np.zeros((len(x), len(codes)), x.dtype)  # (N, O)
    for number, k in enumerate(range(0, x.shape[1], group)):
        n = p[:, k : k + group].astype(np.int32) @ codes[:, k : k + group].astype(np.int32).T  # (N, O)
        y += n.astype(x.dtype) * (t[:, number, None] * scales[:, number])
    return y


def to_bfloat16(w):
    """The upper halves uint16 of w, float32, rounded to the nearest, halves to the even one; a NaN stays one."""
    bits = w.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(w), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bfloat16(halves):
    """float32 of upper halves uint16."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
