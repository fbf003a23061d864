"""Texts of different lengths as one batch: the shorter ones begin with padding, so that all end, and go on, together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.ops import checks

__all__ = ["left_padded"]


def left_padded(texts: Sequence[np.ndarray], pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One array of several texts.

    Parameters
    ----------
    texts : sequence of ndarray of integers, shape (T_b,)
        At least one, each of at least one token.
    pad : int
        The id that fills up; which one does not matter, since nothing sees it.

    Returns
    -------
    ids : ndarray, shape (B, T), int64
    key_mask : ndarray of bool, shape (B, T)
        False for padding.

    Raises
    ------
    TypeError, ValueError
        If a text is no array of integers, or empty.
    """
    rows = [checks.integers(f"ids[{b}]", text, (None,), "(T,)") for b, text in enumerate(texts)]
    if not rows:
        raise ValueError("ids must hold at least one text, got none")
    for b, row in enumerate(rows):
        if not len(row):
            raise ValueError(f"ids[{b}] must hold at least one token, got none")
    T = max(map(len, rows))
    ids, mask = np.full((len(rows), T), pad, np.int64), np.zeros((len(rows), T), bool)  # (B, T) each
    for b, row in enumerate(rows):
        ids[b, T - len(row) :] = row
        mask[b, T - len(row) :] = True
    return ids, mask
