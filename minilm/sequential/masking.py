"""Recurrent layers over any mask: the steps that count are moved to the front of their row, and the rest is padding.

A masked step leaves the state as it is. So a row whose steps 2, 3 and 6 count is a sequence of these three, which the ops compute
with lengths = 3. Where the steps that count come first already (padding="post"), nothing is moved. On a GPU all rows are moved,
since the host would have to wait to learn whether they need it.

::

    order[:, b]     the steps of row b: those that count, in time order, then the others         (T, B, 1)
    hold[t, b]      the place, among the moved steps, of the state after step t; -1: none yet    (T, B)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import checks, embedding
from minilm.ops.embedding.spec import Saved
from minilm.typing import Array

__all__ = ["Places", "places", "moved", "moved_back", "held", "held_back"]


class Places(NamedTuple):
    """Where the steps of each row go."""

    lengths: np.ndarray  # (B,), how many steps count; 1 where none does, since the ops take no less
    order: np.ndarray | None  # (T, B, 1), or None where nothing has to be moved
    hold: np.ndarray  # (T, B)
    empty: np.ndarray | None  # (B,) of bool: rows without a step that counts; None where the host knows that there are none
    kept: np.ndarray  # (T, B), the mask


def places(mask: np.ndarray, reverse: bool) -> Places | None:
    """The places for a mask (B, T) of bool; None where all steps count. With `reverse` steps are taken last first."""
    on_gpu = devices.on_gpu(mask)
    if not on_gpu and mask.all():
        return None
    kept = checks.kernel_ready(mask.T)  # (T, B)
    lengths = kept.sum(axis=0)  # (B,)
    before = np.cumsum(kept, axis=0)  # (T, B): how many steps count up to this one
    if reverse:  # a masked step has the output of the next later step that counts
        hold = np.where(kept, before - 1, np.where(before < lengths, before, -1))
    else:
        hold = before - 1
    order = None
    if on_gpu or not (kept == (np.arange(len(kept))[:, None] < lengths)).all():
        order = np.argsort((~kept).astype(np.int8), axis=0, kind="stable")[:, :, None]  # (T, B, 1)
    empty = lengths == 0
    return Places(np.maximum(lengths, 1), order, hold, empty if on_gpu or empty.any() else None, kept)


def moved(x: Array, where: Places) -> Array:
    """x (T, B, D), in each row the steps that count first."""
    return x if where.order is None else np.take_along_axis(x, where.order, axis=0)


def moved_back(dx: Array, where: Places) -> Array:
    """Gradient of `moved`: dx (T, B, D) with every step back at its place."""
    if where.empty is not None:  # for such a row the ops took one step that does not count
        dx = np.where(where.empty[:, None], dx.dtype.type(0), dx)
    return dx if where.order is None else np.take_along_axis(dx, np.argsort(where.order, axis=0), axis=0)


def held(y: Array, where: Places, zero: bool) -> Array:
    """The outputs at all steps (T, B, H), from y (T, B, H) of the moved steps.

    A masked step has the output of the step before it, or zeros if there is none; with `zero` always zeros.
    """
    shown = where.kept if zero else where.hold >= 0  # (T, B)
    if where.empty is not None:
        shown = shown & ~where.empty
    rows = np.take_along_axis(y, np.maximum(where.hold, 0)[:, :, None], axis=0)  # (T, B, H)
    return np.where(shown[:, :, None], rows, y.dtype.type(0))


def held_back(dy: Array, where: Places, zero: bool) -> Array:
    """Gradient of `held`: a step that counts also gets the gradients of the masked steps that repeat its output."""
    (T, B, H), none = dy.shape, dy.dtype.type(0)
    gradient = moved(np.where(where.kept[:, :, None], dy, none), where)  # each moved step once
    if zero:
        return gradient
    holding = ~where.kept & (where.hold >= 0)  # (T, B)
    rest = np.where(holding[:, :, None], dy, none)  # (T, B, H); zero wherever the mask went on to the layers behind
    if not devices.on_gpu(rest) and not rest.any():
        return gradient
    places = np.where(holding, where.hold * B + devices.array_module(dy).arange(B), T * B)  # (T, B): where each is added
    sums = embedding.backward(rest, Saved(places, (T * B + 1, H), dy.dtype, None))  # (T B + 1, H)
    return gradient + sums[:-1].reshape(T, B, H)
