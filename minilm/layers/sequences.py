"""Orders of sequences in memory: time first inside, and two directions side by side."""

from __future__ import annotations

from minilm.ops.workspace import empty


def time_first(x, batch_first: bool):
    """x as a contiguous (T, B, D): without a copy where it lies in memory like that already."""
    x = x.transpose(1, 0, 2) if batch_first else x  # (T, B, D)
    if x.flags.c_contiguous:
        return x
    ordered = empty(x.shape, x.dtype, like=x)  # (T, B, D)
    ordered[...] = x
    return ordered


def joined(outputs):
    """The outputs of both directions side by side, (T, B, 2H)."""
    T, B, H = outputs[0].shape
    both = empty((T, B, 2 * H), outputs[0].dtype, like=outputs[0])
    for direction, y in enumerate(outputs):
        both[:, :, direction * H : (direction + 1) * H] = y
    return both


def half(dy, direction: int):
    """One direction's part of dy (T, B, 2H), contiguous: (T, B, H)."""
    T, B, width = dy.shape
    H = width // 2
    part = empty((T, B, H), dy.dtype, like=dy)
    part[...] = dy[:, :, direction * H : (direction + 1) * H]
    return part
