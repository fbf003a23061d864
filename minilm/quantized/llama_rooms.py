"""The sizes of `minilm.quantized.llama_step`, and where its threads compute, as `minilm.quantized.rooms` is for GPT-2."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit


class Sizes(NamedTuple):
    """Sizes of the model and of the call, in the order in which the kernel gets them."""

    B: int  # texts
    D: int
    F: int
    H: int  # heads of queries
    G: int  # of keys and values
    K: int  # width of a head
    V: int
    group: int  # of int8
    gate: int
    offset: int  # what is added to the weights of normalisations
    text: int  # bytes from a text of the cache to the next
    row: int  # bytes from a position to the next
    tokens: int  # address of the table of tokens (V, D)
    mask: int  # of key_mask (B, Tk), or 0
    Tk: int  # positions in the cache, the new one among them


class Team(NamedTuple):
    """What the threads share of a call."""

    x: np.ndarray  # (B, D) the residual stream
    raw: np.ndarray  # (B, D) products that are added to it
    q: np.ndarray  # (B, H K)
    k: np.ndarray  # (B, G K)
    v: np.ndarray  # (B, G K)
    rotated: np.ndarray  # (B, H K)
    y: np.ndarray  # (B, 1, H, K) what the heads give
    logsumexp: np.ndarray  # (B, H, 1)
    gate: np.ndarray  # (B, F)
    up: np.ndarray  # (B, F)
    hidden: np.ndarray  # (B, F) f(gate) * up: not in place, as a compiler makes no vectors of what may overlap


class Own(NamedTuple):
    """What a thread has for itself."""

    u: np.ndarray  # (B, D) normalised
    head: np.ndarray  # (1, K)
    gamma: np.ndarray  # (D or K,)
    codes: np.ndarray  # (B * widest in whole groups,) int8
    scales: np.ndarray  # (2, B * groups) scales, and as int32 where sums begin


def shared_size(s: Sizes) -> int:
    """Numbers of float32 of a `Team`."""
    return s.B * (2 * s.D + 3 * s.H * s.K + 2 * s.G * s.K + s.H + 3 * s.F)


def own_size(s: Sizes) -> int:
    """Numbers of float32 of an `Own`, in whole cache lines."""
    codes, groups = _widest.py_func(s.D, s.H * s.K, s.F, s.group)
    return -(-(s.B * (s.D + 2 * groups) + s.K + max(s.D, s.K) + s.B * codes // 4) // 16) * 16


@jit
def _widest(D, HK, F, group):
    """The longest row in whole groups, a multiple of 4, and the most groups of a row."""
    codes = groups = 0
    for width in (D, HK, F):
        short = min(group, -(-width // 4) * 4)
        number = -(-width // short)
        codes, groups = max(codes, number * short), max(groups, number)
    return codes, groups


@jit(inline="always")
def team_of(shared, s):
    B, D, HK, GK = s.B, s.D, s.H * s.K, s.G * s.K
    raw = B * D
    q = raw + B * D
    k = q + B * HK
    v = k + B * GK
    rotated = v + B * GK
    y = rotated + B * HK
    logsumexp = y + B * HK
    gate = logsumexp + B * s.H
    up = gate + B * s.F
    hidden = up + B * s.F
    return Team(
        shared[:raw].reshape(B, D),
        shared[raw:q].reshape(B, D),
        shared[q:k].reshape(B, HK),
        shared[k:v].reshape(B, GK),
        shared[v:rotated].reshape(B, GK),
        shared[rotated:y].reshape(B, HK),
        shared[y:logsumexp].reshape(B, 1, s.H, s.K),
        shared[logsumexp:gate].reshape(B, s.H, 1),
        shared[gate:up].reshape(B, s.F),
        shared[up:hidden].reshape(B, s.F),
        shared[hidden : hidden + B * s.F].reshape(B, s.F),
    )


@jit(inline="always")
def own_of(room, s):
    B, D, K = s.B, s.D, s.K
    codes, groups = _widest(D, s.H * K, s.F, s.group)
    head = B * D
    gamma = head + K
    scales = gamma + max(D, K)
    code = scales + 2 * B * groups
    return Own(
        room[:head].reshape(B, D),
        room[head:gamma].reshape(1, K),
        room[gamma:scales],
        room[code : code + B * codes // 4].view(np.int8),
        room[scales:code].reshape(2, B * groups),
    )
