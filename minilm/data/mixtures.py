"""Batches of several texts, in proportions of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from minilm.data.batching import RandomBatches, _random
from minilm.data.shards import Shards
from minilm.ops import checks

__all__ = ["MixtureBatches", "mixture"]


class MixtureBatches(RandomBatches):
    """Windows of several token streams; which stream a row is of is drawn anew for every row of every step.

    Parameters
    ----------
    streams : sequence of array_like of int, each (N_i,), N_i > time
    batch, time : int
        B and T.
    weights : sequence of float, optional
        How often each stream is drawn, in any unit; without them as often as it has windows, so that the mixture is as one text.
    seed : int
        0 <= seed < 2**64.

    Notes
    -----
    Step s has the Philox 4x64-10 numbers r_1 ... r_2B of the key (seed, s). Row b is of the first stream i with
    ``r_b < 2**64 (w_1 + ... + w_i)``, the weights having the sum 1, and its window starts at ``r_(B+b) (N_i - T) div 2**64`` in
    it. So a batch is a function of the streams, the weights, the seed and the step alone, and no window reaches from one stream
    into the next.
    """

    def __init__(
        self, streams: Sequence[ArrayLike], batch: int, time: int, weights: Sequence[float] | None = None, seed: int = 0
    ):
        parts = [stream if isinstance(stream, Shards) else np.asarray(stream) for stream in streams]
        flat = [each for part in parts for each in (part.parts if isinstance(part, Shards) else [part])]
        super().__init__(Shards(flat), batch, time, seed)
        sizes = [len(part) for part in parts]
        for i, size in enumerate(sizes):
            if size <= self.time:
                raise ValueError(f"stream {i} has {size} tokens; a window of time={self.time} needs at least {self.time + 1}")
        self.places = [size - self.time for size in sizes]  # of each stream, where windows may start
        self.offsets = [sum(sizes[:i]) for i in range(len(sizes))]  # where each stream begins in all of them
        self.weights = _weights(self.places if weights is None else weights, len(parts))  # (streams,)
        self._bounds = [int(bound) for bound in np.cumsum(self.weights)[:-1].astype(np.longdouble) * 2**64]

    def streams(self, step: int) -> np.ndarray:
        """The stream that each row of a step is of, (B,)."""
        numbers = _random(self.seed, step, 2 * self.batch_size)[: self.batch_size]
        return np.array([sum(number >= bound for bound in self._bounds) for number in numbers])

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, targets) of a step, each (B, T) int64."""
        numbers = _random(self.seed, step, 2 * self.batch_size)[self.batch_size :]
        streams = self.streams(step).tolist()  # (B,)
        starts = [self.offsets[i] + (number * self.places[i] >> 64) for i, number in zip(streams, numbers, strict=True)]
        return self._windows(starts, [start + self.time for start in starts])


def _weights(weights: Iterable[float], count: int) -> np.ndarray:
    """The weights with the sum 1, (streams,)."""
    values = [checks.number("weights", each, 0, np.inf) for each in weights]
    if len(values) != count:
        raise ValueError(f"weights must be {count}, one a stream, got {len(values)}")
    total = sum(values)
    if not 0 < total < np.inf:
        raise ValueError(f"weights must have a positive sum, got {values}")
    return np.array(values) / total


def mixture(
    streams: Sequence[ArrayLike],
    weights: Sequence[float] | None = None,
    *,
    batch: int,
    time: int,
    seed: int = 0,
) -> MixtureBatches:
    """Batches of several texts' ids, without end; see `MixtureBatches`.

    Raises
    ------
    ValueError
        If there are no streams, or what `MixtureBatches` refuses.

    Examples
    --------
    Three rows of stories for one of code:

    >>> batches = mixture([stories, code], [3, 1], batch=12, time=64, seed=0)
    >>> for ids, targets in batches:
    ...     loss, saved = model.forward(ids, targets)
    """
    if not len(streams):
        raise ValueError("a mixture must have at least one stream, got none")
    return MixtureBatches(streams, batch, time, weights, seed)
