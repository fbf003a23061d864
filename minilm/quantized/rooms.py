"""Where the threads of a transformer's kernels compute: what they share, and what each has for itself, cut from an array each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit


class Team(NamedTuple):
    """What the threads share of a call."""

    reached: np.ndarray  # (parts * LINE,) int64, see `meet`
    x: np.ndarray  # (B, D) the residual stream
    raw: np.ndarray  # (B * widest,) products before the bias
    qkv: np.ndarray  # (B, 3D)
    y: np.ndarray  # (B, 1, H, K) what the heads give
    logsumexp: np.ndarray  # (B, H, 1)
    hidden: np.ndarray  # (B, F)


class Own(NamedTuple):
    """What a thread has for itself."""

    u: np.ndarray  # (B, D) normalised
    moments: np.ndarray  # (2, B)
    codes: np.ndarray  # (B * widest in whole groups,) int8
    scales: np.ndarray  # (2, B * groups) scales, and as int32 where sums begin


def shared_size(B: int, D: int, F: int, H: int) -> int:
    """Numbers of float32 of a `Team`."""
    return B * (D + max(3 * D, F) + 3 * D + D + H + F)


def own_size(B: int, D: int, F: int, group: int) -> int:
    """Numbers of float32 of an `Own`, in whole cache lines."""
    codes, groups = _widest.py_func(D, F, group)
    return -(-(B * (D + 2 + 2 * groups) + B * codes // 4) // 16) * 16


@jit
def _widest(D, F, group):
    """The longest row in whole groups, a multiple of 4, and the most groups of a row."""
    short, long = min(group, -(-D // 4) * 4), min(group, -(-F // 4) * 4)
    return max(-(-D // short) * short, -(-F // long) * long), max(-(-D // short), -(-F // long))


@jit(inline="always")
def team_of(reached, shared, sizes):
    B, D, F, H = sizes.B, sizes.D, sizes.F, sizes.H
    x = 0
    raw = x + B * D
    qkv = raw + B * max(3 * D, F)
    y = qkv + B * 3 * D
    logsumexp = y + B * D
    hidden = logsumexp + B * H
    return Team(
        reached,
        shared[x:raw].reshape(B, D),
        shared[raw:qkv],
        shared[qkv:y].reshape(B, 3 * D),
        shared[y:logsumexp].reshape(B, 1, H, D // H),
        shared[logsumexp:hidden].reshape(B, H, 1),
        shared[hidden : hidden + B * F].reshape(B, F),
    )


@jit(inline="always")
def own_of(room, sizes):
    B, D = sizes.B, sizes.D
    codes, groups = _widest(D, sizes.F, sizes.group)
    moments = B * D
    scales = moments + 2 * B
    code = scales + 2 * B * groups
    return Own(
        room[:moments].reshape(B, D),
        room[moments:scales].reshape(2, B),
        room[code : code + B * codes // 4].view(np.int8),
        room[scales:code].reshape(2, B * groups),
    )
