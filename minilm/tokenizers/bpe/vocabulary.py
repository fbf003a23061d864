"""Checks of a vocabulary and its merges, and the merges as ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MOST_IDS, MOST_MERGES = 2**21 - 1, 2**22 - 1  # what the table of merges has bits for


def merge_ids(merges: tuple[tuple[str, str], ...], ids: Mapping[str, int]) -> np.ndarray:
    """The ids of the left, the right and the joined token of every merge, (M, 3) int32.

    Raises
    ------
    ValueError
        There are too many tokens or merges, a merge is there twice, or a token of one is not in the vocabulary.
    """
    if len(ids) > MOST_IDS:
        raise ValueError(f"the vocabulary must have at most {MOST_IDS:,} tokens, got {len(ids):,}")
    if len(merges) > MOST_MERGES:
        raise ValueError(f"there must be at most {MOST_MERGES:,} merges, got {len(merges):,}")
    if len(set(merges)) < len(merges):
        ranks = {pair: rank for rank, pair in enumerate(merges)}  # of the last one of each
        rank = next(rank for rank, pair in enumerate(merges) if ranks[pair] != rank)
        raise ValueError(
            f"merge {rank} of {merges[rank][0]!r} and {merges[rank][1]!r} is there twice, merge {ranks[merges[rank]]} too"
        )
    found = np.empty((len(merges), 3), np.int32)  # (M, 3)
    for rank, (left, right) in enumerate(merges):
        try:
            found[rank] = ids[left], ids[right], ids[left + right]
        except KeyError as error:
            raise ValueError(f"merge {rank}, {left!r} and {right!r}: {error.args[0]!r} is not in the vocabulary") from None
    return found
