"""Rows of unequal length: which of them are read together, and how they stand side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["near_lengths", "side_by_side"]


def side_by_side(rows: Sequence[ArrayLike], filling: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids of N rows in one array, (N, T), int64, filled up with `filling`, and how many of each count, (N,)."""
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), filling, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return ids, lengths


def near_lengths(lengths: Iterable[int], most: int = 64) -> Iterator[list[int]]:
    """The numbers of N rows in groups of up to `most`, the shortest rows first: side by side each group has little padding."""
    order = np.argsort(np.fromiter(lengths, np.int64), kind="stable").tolist()
    for start in range(0, len(order), most):
        yield order[start : start + most]
