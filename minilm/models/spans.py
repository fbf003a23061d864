"""Answers as parts of a passage: the most probable span by the logits of its start and of its end."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.typing import Array

__all__ = ["NEVER", "best_spans"]

NEVER = -1e9  # a logit whose probability is 0: -inf would give NaN where it meets a zero gradient


def best_spans(start: Array, end: Array, *, most: int = 15, inside: Array | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The most probable span of each row: of all start <= end < start + most the one with the largest sum of both logits.

    Parameters
    ----------
    start, end : ndarray, shape (B, T)
        Logits.
    most : int
        Words of an answer.
    inside : ndarray of bool, shape (B, T), optional
        Where an answer may start and end. Arrays on a GPU are read back.

    Returns
    -------
    spans : ndarray of integers, shape (B, 2)
    scores : ndarray, shape (B,)
        The sums.
    """
    start, end, inside = (each if each is None else np.asarray(devices.to_host(each)) for each in (start, end, inside))
    checks.check_shape("start", start, (None, None), "(B, T)")
    checks.check_shape("end", end, start.shape, "(B, T)")
    most = checks.whole("most", most, 1, 2**31)
    B, T = start.shape
    if inside is not None:
        start, end = (np.where(inside, each, NEVER) for each in (start, end))
    spans, scores = np.zeros((B, 2), np.int64), np.full(B, -np.inf)  # (B, 2), (B,)
    for length in range(min(most, T)):
        sums = start[:, : T - length] + end[:, length:]  # (B, T - length)
        i = sums.argmax(axis=1)  # (B,)
        best = sums[np.arange(B), i]  # (B,)
        better = best > scores  # (B,)
        scores = np.where(better, best, scores)
        spans[better] = np.stack([i, i + length], axis=1)[better]
    return spans, scores
