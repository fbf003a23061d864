"""Rotary positions on the CPU: a token's row of the tables is read once for all its heads."""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.rotary.spec import Saved
from minilm.ops.vectors import multiply_add
from minilm.ops.workspace import empty

WORTH = 2**14  # numbers worth a thread


@jit(part=True)
def turn_head(row, c, s, interleaved, sign, out):
    # out (K,) = a head (K,) turned by the angles of cos c and sin s (R/2,), back with sign -1. Which product is rounded stands
    # here, since a compiler chooses by what is around
    half = len(c)
    for r in range(half):
        i, j = (2 * r, 2 * r + 1) if interleaved else (r, r + half)
        a, b, sine = row[i], row[j], sign * s[r]
        out[i] = multiply_add(a, c[r], -(b * sine))
        out[j] = multiply_add(a, sine, b * c[r])
    for k in range(2 * half, len(row)):
        out[k] = row[k]


@jit
def _turn(start, stop, x, cos, sin, positions, interleaved, sign, y):
    # tokens [start, stop) of x, y (N, H, K); cos, sin (P, R/2); positions (N,)
    for n in range(start, stop):
        c, s = cos[positions[n]], sin[positions[n]]
        for h in range(x.shape[1]):
            turn_head(x[n, h], c, s, interleaved, sign, y[n, h])


def _rotated(x, cos, sin, positions, interleaved, sign):
    """x (B, T, H, K) rotated forwards (sign 1) or back (-1)."""
    B, T, H, K = x.shape
    y = empty(x.shape, x.dtype)  # (B, T, H, K)
    places = _places(B, T) if positions is None else positions.reshape(-1)  # (N,)
    arguments = (x.reshape(B * T, H, K), cos, sin, places, interleaved, x.dtype.type(sign), y.reshape(B * T, H, K))
    devices.parallel(_turn, B * T, *arguments, grain=max(1, WORTH // max(1, H * K)))
    return y


def _places(B, T):
    """0, 1, ..., T - 1 for each of B texts, (B T,)."""
    places = empty((B, T), "int64")
    places[...] = range(T)
    return places.reshape(-1)


def forward(x, cos, sin, positions=None, *, interleaved=False):
    return _rotated(x, cos, sin, positions, interleaved, 1), Saved(cos, sin, positions, interleaved, x.shape)


def backward(dy, saved):
    return _rotated(dy, saved.cos, saved.sin, saved.positions, saved.interleaved, -1)
