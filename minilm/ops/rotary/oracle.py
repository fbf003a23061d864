"""Rotary positions in plain NumPy, a line of code a line of formula."""

from __future__ import annotations

import numpy as np

from minilm.ops.rotary.spec import Saved


def rotated(x, c, s, interleaved):
    """x (B, T, H, K) with its pairs rotated by the angles whose cosines and sines are c and s (B or 1, T, 1, R/2)."""
    R = 2 * c.shape[-1]
    if interleaved:
        a, b = x[..., 0:R:2], x[..., 1:R:2]  # (B, T, H, R/2) each
        pairs = np.stack([a * c - b * s, a * s + b * c], axis=-1).reshape(*x.shape[:-1], R)  # (B, T, H, R)
    else:
        a, b = x[..., : R // 2], x[..., R // 2 : R]  # (B, T, H, R/2) each
        pairs = np.concatenate([a * c - b * s, a * s + b * c], axis=-1)  # (B, T, H, R)
    return np.concatenate([pairs, x[..., R:]], axis=-1)  # (B, T, H, K)


def rows(table, positions, T):
    """The rows of a table (P, R/2) at the positions: (B or 1, T, 1, R/2)."""
    return table[None, :T, None] if positions is None else table[positions][:, :, None]


def forward(x, cos, sin, positions=None, *, interleaved=False):
    T = x.shape[1]
    y = rotated(x, rows(cos, positions, T), rows(sin, positions, T), interleaved)  # (B, T, H, K)
    return y, Saved(cos, sin, positions, interleaved, x.shape)


def backward(dy, saved):
    cos, sin, positions, interleaved, shape = saved
    T = shape[1]
    return rotated(dy, rows(cos, positions, T), -rows(sin, positions, T), interleaved)  # (B, T, H, K)
