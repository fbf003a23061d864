"""Rotary positions of a model: the tables of its angles, kept as far as any text has reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import rotary
from minilm.typing import Array, DType, Ids

__all__ = ["RotaryPositions", "Rotation"]


class Rotation(NamedTuple):
    """By what the queries and keys of some tokens are rotated: the arguments of `minilm.ops.rotary.forward`."""

    cos: np.ndarray  # (P, K/2)
    sin: np.ndarray  # (P, K/2)
    positions: np.ndarray | None  # (B, T) rows of the tables; None: the first T


class RotaryPositions:
    """Rotations for heads of K numbers; see `minilm.ops.rotary.spec`. There is nothing to learn.

    Parameters
    ----------
    width : int
        K.
    base, scaling
        See `minilm.ops.rotary.frequencies`.
    dtype : {float32, float64}
    """

    def __init__(
        self, width: int, *, base: float = 10_000.0, scaling: Mapping[str, Any] | None = None, dtype: DType = np.float32
    ):
        self._arguments = {"R": width, "base": base, "scaling": scaling, "dtype": dtype}
        rotary.frequencies(width, base=base, scaling=scaling)  # an error in the settings is told now
        self._tables = tuple(np.empty((0, width // 2), dtype) for _ in range(2))  # cos, sin: (P, K/2)

    def rotation(self, like: Array, stop: int, positions: Ids | None = None, offset: int = 0) -> Rotation:
        """The rotation of tokens, in the dtype and on the device of `like`.

        Parameters
        ----------
        like : array
        stop : int
            No position is behind ``stop - 1``.
        positions : ndarray of integers, shape (B, T), optional
            Of each token; ``offset ... stop - 1`` in every row without them.
        offset : int
        """
        size, dtype = len(self._tables[0]), self._tables[0].dtype
        target = getattr(like, "dtype", dtype)  # another one after `Layer.to`; the layer refuses what is not an array
        if stop > size or dtype != target:
            arguments = {**self._arguments, "dtype": target}
            self._tables = rotary.tables(max(stop, 2 * size if stop > size else size), **arguments)
        self._tables = devices.to_device_of(like, self._tables)
        rows = slice(offset if positions is None else 0, stop)
        return Rotation(*(table[rows] for table in self._tables), positions)
