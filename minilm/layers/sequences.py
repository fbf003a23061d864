"""Orders of sequences in memory: time first inside, and arrays side by side."""

from __future__ import annotations

import itertools

import numpy as np

from minilm.ops.workspace import empty


def contiguous(x):
    """x itself where its numbers lie in order in memory, else a copy."""
    if x.flags.c_contiguous:
        return x
    ordered = empty(x.shape, x.dtype, like=x)
    ordered[...] = x
    return ordered


def time_first(x, batch_first: bool):
    """x as a contiguous (T, B, D): without a copy where it lies in memory like that already."""
    return contiguous(x.transpose(1, 0, 2) if batch_first else x)


def time_first_ids(ids):
    """A copy of ids (B, T) as (T, B), int64."""
    ordered = empty(ids.shape[::-1], np.int64, like=ids)  # (T, B)
    ordered[...] = ids.T
    return ordered


def side_by_side(*parts):
    """One array (..., D_0 + D_1 + ...) of several, without those that are None; all but the first are broadcast to its shape."""
    first, *others = parts = [part for part in parts if part is not None]
    if not others:
        return contiguous(first)
    ends = list(itertools.accumulate(part.shape[-1] for part in parts))
    wide = empty((*first.shape[:-1], ends[-1]), first.dtype, like=first)  # (..., D_0 + D_1 + ...)
    for part, end in zip(parts, ends, strict=True):
        wide[..., end - part.shape[-1] : end] = part
    return wide


def half(dy, direction: int):
    """One direction's part of dy (T, B, 2H), contiguous: (T, B, H)."""
    H = dy.shape[2] // 2
    return contiguous(dy[:, :, direction * H : (direction + 1) * H])
