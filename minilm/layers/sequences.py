"""Orders of sequences in memory: time first inside, and two directions side by side."""

from __future__ import annotations

from minilm.ops.workspace import empty_from


def time_first(x, batch_first: bool, workspace):
    """x as a contiguous (T, B, D): without a copy where it lies in memory like that already."""
    x = x.transpose(1, 0, 2) if batch_first else x  # (T, B, D)
    if x.flags.c_contiguous:
        return x
    ordered = empty_from(workspace, x)(x.shape, x.dtype)  # (T, B, D)
    ordered[...] = x
    return ordered


def joined(outputs, workspace):
    """The outputs of both directions side by side, (T, B, 2H)."""
    T, B, H = outputs[0].shape
    both = empty_from(workspace, outputs[0])((T, B, 2 * H), outputs[0].dtype)
    for direction, y in enumerate(outputs):
        both[:, :, direction * H : (direction + 1) * H] = y
    return both


def half(dy, direction: int, workspace):
    """One direction's part of dy (T, B, 2H), contiguous: (T, B, H)."""
    T, B, width = dy.shape
    H = width // 2
    part = empty_from(workspace, dy)((T, B, H), dy.dtype)
    part[...] = dy[:, :, direction * H : (direction + 1) * H]
    return part
