"""Rows of unequal length side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["side_by_side"]


def side_by_side(rows: Sequence[ArrayLike], filling: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids of N rows in one array, (N, T), int64, filled up with `filling`, and how many of each count, (N,)."""
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), filling, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return ids, lengths
