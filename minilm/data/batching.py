"""Batches: windows of a stream of tokens, each a function of the seed and the step.

A window of `time` tokens and the `time` tokens that follow them one place on: ``targets[b, t]`` is the token after ``ids[b, t]``.
A stream of N tokens has N - 1 targets: nothing predicts the first token.
"""

from __future__ import annotations

import mmap
import operator
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from minilm.data.shards import Shards

IGNORE = -100  # a target that does not count: the default `ignore_index` of `minilm.ops.cross_entropy`
FORGET = 64  # windows that are read before their pages are let go of: each may bring 2 MiB, however short it is
OFTEN, RARELY, LATER = 4, 64, 128  # windows, windows and steps: see `ContiguousBatches.fresh_rows`


def batches(tokens: ArrayLike, batch: int, time: int, seed: int = 0, carried: bool = False) -> RandomBatches | ContiguousBatches:
    """Batches for training, without end.

    Parameters
    ----------
    tokens : array_like of int, shape (N,)
        The training text's ids.
    batch, time : int
        B rows of T tokens.
    seed : int
        0 <= seed < 2**64.
    carried : bool
        False: `RandomBatches`, windows anywhere. True: `ContiguousBatches`, where each row goes on where it stood in the batch
        before, for recurrent models that carry their state.

    Returns
    -------
    RandomBatches or ContiguousBatches
        Iterating yields (ids, targets), each (B, T) int64, C-contiguous. ``.batch(step)`` gives any of them.

    Examples
    --------
    >>> for ids, targets in batches(tokens, batch=12, time=64, seed=0):
    ...     loss, saved = model.forward(ids, targets)
    """
    kind = ContiguousBatches if carried else RandomBatches
    return kind(tokens, batch, time, seed)


class _Batches:
    """What the kinds of batches share."""

    def __init__(self, tokens: ArrayLike, batch: int, time: int):
        array = tokens if isinstance(tokens, Shards) else np.asarray(tokens)
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise TypeError(f"tokens must be one axis of integers, got shape {array.shape} of {array.dtype}")
        self.tokens = array  # (N,) not copied: it may be memory-mapped
        self._maps, self._read = _maps(array), 0
        self.batch_size, self.time = _count("batch", batch), _count("time", time)

    @property
    def total_targets(self) -> int:
        """Targets in the stream, N - 1."""
        return self.tokens.size - 1

    def iterate(self, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of step `start` and on."""
        step = start
        while True:
            yield self.batch(step)
            step += 1

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self.iterate()

    def fresh_rows(self, step: int) -> np.ndarray:
        """Which rows of a step's batch begin from a state of zeros: (B,) bool."""
        return np.full(self.batch_size, self.fresh(step))

    def _require(self, needed: int, what: str):
        if self.tokens.size < needed:
            raise ValueError(f"the text has {self.tokens.size} tokens; {what} needs at least {needed}")

    def _windows(self, starts, stops):
        """The windows whose first targets are `starts` (B,), ended before `stops` (B,); what is beyond counts as IGNORE."""
        shape = self.batch_size, self.time
        ids, targets = np.zeros(shape, np.int64), np.full(shape, IGNORE, np.int64)  # (B, T) each
        for b, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            size = min(stop - start, self.time)
            if size > 0:
                window = self.tokens[start : start + size + 1]  # (size + 1,)
                ids[b, :size] = window[:-1]
                targets[b, :size] = window[1:]
        self._read += len(ids)
        if self._read >= FORGET:
            self._forget()
        return ids, targets

    def _forget(self) -> None:
        """Let go of the pages of memory-mapped files that were looked at: the system keeps them as long as it has room."""
        self._read = 0
        for each in self._maps:
            each.madvise(mmap.MADV_DONTNEED)


def _maps(tokens) -> list[mmap.mmap]:
    """The memory maps that an array lies in; none where the system cannot be told to let go of their pages."""
    maps = []
    for array in tokens.parts if isinstance(tokens, Shards) else [tokens]:
        if array.flags.writeable:  # a map may hold what no file does
            continue
        while isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        if isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            maps.append(array)
    return maps


class RandomBatches(_Batches):
    """Windows that start anywhere, drawn anew for every step, all places equally likely.

    Parameters
    ----------
    tokens : array_like of int, shape (N,), N > time
    batch, time : int
        B and T.
    seed : int
        0 <= seed < 2**64.

    Attributes
    ----------
    epoch_steps : int
        Steps that draw as many targets as the stream has. Windows may overlap and places be left out.

    Notes
    -----
    The starts of step s are Philox 4x64-10 numbers of the key (seed, s), r_b, scaled to ``r_b (N - T) div 2**64``. So the batch
    of any step is had without drawing those before it.
    """

    def __init__(self, tokens: ArrayLike, batch: int, time: int, seed: int = 0):
        super().__init__(tokens, batch, time)
        self._require(self.time + 1, f"a window of time={self.time}")
        self.seed = _seed(seed)
        self.epoch_steps = -(-self.total_targets // (self.batch_size * self.time))

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, targets) of a step, each (B, T) int64."""
        places = self.tokens.size - self.time
        starts = [number * places >> 64 for number in _random(self.seed, step, self.batch_size)]
        return self._windows(starts, [start + self.time for start in starts])

    def fresh(self, step: int) -> bool:
        """Whether a carried state must be dropped before a step: always."""
        return True


class ContiguousBatches(_Batches):
    """The stream cut into B parallel rows, read in windows of T, in order: row b of step s + 1 goes on from row b of step s.

    Parameters
    ----------
    tokens : array_like of int, shape (N,), N > batch * time
    batch, time : int
        B and T.
    seed : int, optional
        With a seed, every epoch but the first starts at a random one of the first T tokens, so that windows are not cut at the
        same places again. With None all epochs are alike.

    Attributes
    ----------
    epoch_steps : int
        Steps an epoch, the same for all.

    Notes
    -----
    With M = N - 1 targets and an epoch's offset o, row b has the targets ``o + b (M - o) div B`` up to
    ``o + (b + 1)(M - o) div B``: rows differ by one at the most, and an epoch has every target exactly once, but for the first
    o < T. There are ``ceil(ceil(M / B) / T)`` steps. The last windows, which a row does not fill, keep the shape: the targets
    beyond the row are IGNORE, so they add nothing to loss or gradient. Every window has at least one target, since o is
    kept so small that the longest row reaches the last step.

    A text that the model is to write, or to judge, begins from a state of zeros, and of what follows from that a model knows
    what it was trained on; epochs begin too rarely, above all in short runs. So a row drops its state now and then, though it
    goes on in the text (`fresh_rows`): once in 4 windows at first, which is enough for the first hundred steps, and half as
    often whenever training has become twice as long, down to once in 64, since what a long memory is worth is learned late.
    """

    def __init__(self, tokens: ArrayLike, batch: int, time: int, seed: int | None = None):
        super().__init__(tokens, batch, time)
        self._require(self.batch_size * self.time + 1, f"one window in each of batch={self.batch_size} rows of time={self.time}")
        self.seed = None if seed is None else _seed(seed)
        self.epoch_steps = _steps(self.total_targets, self.batch_size, self.time)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, targets) of a step, each (B, T) int64."""
        epoch, window = divmod(_count("step", step, 0), self.epoch_steps)
        cuts = _cuts(self.offset(epoch), self.total_targets, self.batch_size)  # (B + 1,)
        return self._windows([cut + window * self.time for cut in cuts[:-1]], cuts[1:])

    def fresh(self, step: int) -> bool:
        """Whether all of a carried state must be dropped before a step: at the start of every epoch."""
        return _count("step", step, 0) % self.epoch_steps == 0

    def fresh_rows(self, step: int) -> np.ndarray:
        """Which rows begin from a state of zeros, (B,) bool: all at the start of an epoch, else some in turn."""
        period = min(RARELY, OFTEN << (step // LATER).bit_length())  # 4 up to step 128, 8 up to 256, 16 up to 512, ...
        turns = np.arange(self.batch_size) * period // self.batch_size  # (B,) in [0, period)
        return self.fresh(step) | ((step + turns) % period == 0)

    def offset(self, epoch: int) -> int:
        """The targets that an epoch leaves out at the start of the stream."""
        if self.seed is None or epoch == 0:
            return 0
        spare = self.total_targets - self.batch_size * (self.epoch_steps - 1) * self.time  # more would leave the last step empty
        return _random(self.seed, epoch, 1)[0] * min(self.time, spare) >> 64


class EvaluationBatches(_Batches):
    """Finitely many batches that have every target of the stream exactly once.

    Parameters
    ----------
    tokens : array_like of int, shape (N,), N >= 2
    batch, time : int
        B and T.
    carried : bool
        True: B parallel rows as in `ContiguousBatches`, to be read with the state carried from batch to batch. False: disjoint
        windows in the order of the stream, each to be read by itself.

    Notes
    -----
    What does not fill the last windows is IGNORE in `targets` (and 0 in `ids`); every batch has at least one target. The mean
    loss of the stream is ``sum(loss_s * n_s) / total_targets`` with n_s targets in batch s, ``(targets != IGNORE).sum()``.
    """

    def __init__(self, tokens: ArrayLike, batch: int, time: int, carried: bool = True):
        super().__init__(tokens, batch, time)
        self._require(2, "a target to evaluate")
        self.carried = carried
        self.epoch_steps = _steps(self.total_targets, self.batch_size, self.time)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, targets) of a step, each (B, T) int64.

        Raises
        ------
        IndexError
            If there is no such step.
        """
        if not 0 <= step < self.epoch_steps:
            raise IndexError(f"step must lie in [0, {self.epoch_steps}), got {step}")
        B, T, M = self.batch_size, self.time, self.total_targets
        if self.carried:
            cuts = _cuts(0, M, B)  # (B + 1,)
            return self._windows([cut + step * T for cut in cuts[:-1]], cuts[1:])
        starts = [(step * B + b) * T for b in range(B)]
        return self._windows(starts, [min(start + T, M) for start in starts])

    def fresh(self, step: int) -> bool:
        """Whether a carried state must be dropped before a step."""
        return not self.carried or step == 0

    def __len__(self) -> int:
        return self.epoch_steps

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.batch(step) for step in range(self.epoch_steps))


def _steps(targets: int, batch: int, time: int) -> int:
    """Windows in the longest of `batch` rows; of disjoint windows the same number serves."""
    return -(-targets // (batch * time))


def _cuts(first: int, last: int, rows: int) -> list[int]:
    """Where rows begin, and the last one's end: (rows + 1,)."""
    return [first + b * (last - first) // rows for b in range(rows + 1)]


def _random(seed: int, step: int, count: int) -> list[int]:
    """Whole numbers in [0, 2**64), a function of (seed, step): raw Philox numbers, the one stream that NumPy never changes."""
    key = np.array([seed, _count("step", step, 0)], np.uint64)  # (2,)
    return np.random.Philox(key=key).random_raw(count).tolist()


def _count(name: str, value, least: int = 1) -> int:
    """`value` as a whole number of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def _seed(value) -> int:
    seed = _count("seed", value, 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be less than 2**64, got {value!r}")
    return seed
