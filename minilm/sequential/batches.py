"""Where batches come from: arrays that lie in memory, or whatever gives one batch after the other.

::

    Rows      arrays x, y and weights: cut into batches, in a new order in each pass
    Stream    a generator, which has one pass; or an iterable, or a sequence of batches with ``len`` and ``[i]`` (Keras's
              PyDataset, a DataLoader), which can be passed through again

An epoch is one pass; or, where `steps` is set, that many batches, and the next epoch goes on with the batch after them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.ops import checks
from minilm.sequential.data import Data, as_inputs, prepared, weighted

if TYPE_CHECKING:
    from minilm.sequential.model import Sequential

__all__ = ["PyDataset", "Rows", "Stream", "gives_batches", "inputs_of", "refuse_beside", "size_of", "steps_of", "stream_of"]

BATCH = 32


def gives_batches(x: Any) -> bool:
    """Whether x is a generator, an iterable or a sequence of batches: neither an array nor a list that becomes one."""
    if isinstance(x, (list, tuple, range, dict, str, bytes)) or hasattr(x, "__array__") or hasattr(x, "dtype"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or _indexed(x)


def _indexed(x) -> bool:
    return hasattr(x, "__len__") and hasattr(x, "__getitem__")


def size_of(batch_size: int | None) -> int:
    """Rows of a batch: `batch_size`, checked; 32 for None."""
    return BATCH if batch_size is None else checks.whole("batch_size", batch_size, 1, 2**31)


def steps_of(name: str, value: Any) -> int | None:
    """A number of batches, checked; None stays None. `name` is the argument's, for messages."""
    return None if value is None else checks.whole(name, value, 1, 2**31)


class _Epochs:
    """What `Rows` and `Stream` share: epochs cut out of passes."""

    steps: int | None  # batches of an epoch; None for a whole pass
    in_a_pass: int | None  # batches of a pass, where that is known
    once = False  # whether there is only one pass
    _going: Iterator[Data] | None = None  # the pass in whose middle the last epoch ended

    def passed(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one pass, in an order drawn from `rng`, or as they come."""
        raise NotImplementedError

    def epoch(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one epoch; fewer where the pass ends before `steps` of them: then the next epoch begins a new pass."""
        if self.steps is None:
            yield from self.passed(rng)
            return
        count, going = 0, self._going is not None
        if not going:
            self._going = self.passed(rng)
        for batch in itertools.islice(self._going, self.steps):
            count += 1
            yield batch
        if not count and going:  # the last epoch ended where the pass did
            self._going = self.passed(rng)
            for batch in itertools.islice(self._going, self.steps):
                count += 1
                yield batch
        if count < self.steps:
            self._going = None

    @property
    def length(self) -> int | None:
        """Batches of an epoch, where that is known."""
        return self.in_a_pass if self.steps is None else self.steps


class Rows(_Epochs):
    """Batches of `size` rows of arrays."""

    def __init__(self, data: Data, size: int, steps: int | None = None):
        self.data, self.size, self.steps = data, size, steps
        self.in_a_pass = -(-len(data.x) // size)

    def passed(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one pass."""
        count = len(self.data.x)
        order = None if rng is None else rng.permutation(count)
        for start in range(0, count, self.size):
            where = slice(start, start + self.size)
            yield self.data.rows(where if order is None else order[where])


class PyDataset:
    """Base for a sequence of batches of your own, as in Keras: define ``__len__`` and ``__getitem__``.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size
        Accepted as Keras accepts them; batches are made one after the other, in the thread that trains.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        pass

    def __len__(self) -> int:
        """The number of batches in a pass."""
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def __getitem__(self, index: int) -> tuple:
        """Batch number `index`, which counts from 0: a tuple (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def on_epoch_end(self) -> None:
        """Called after each pass, such as to draw the next order."""


class Stream(_Epochs):
    """Batches (x, y) or (x, y, sample_weight) from a generator, an iterable or a sequence of them.

    Parameters
    ----------
    model : Sequential
        Built for the first batch, unless it is built already.
    name : str
        What messages call `source`.
    source : generator, iterable, or sequence of batches
    steps : int, optional
        Batches of an epoch; without it an epoch is a pass.
    class_weight : dict of int to float, optional

    Raises
    ------
    ValueError
        If the source has no batches, or its first batch does not fit the model.
    """

    def __init__(self, model: Sequential, name: str, source: Any, steps: int | None = None, class_weight: dict | None = None):
        self._model, self._name, self._source, self.steps, self._class_weight = model, name, source, steps, class_weight
        self.in_a_pass = len(source) if hasattr(source, "__len__") else None
        self.once = hasattr(source, "__next__")
        self._raw = self._fresh(None)
        self._ahead = next(self._raw, None)
        if self._ahead is None:
            raise ValueError(f"{name} gives no batches")
        self._prepared(self._ahead)  # which builds the model

    def _fresh(self, rng) -> Iterator:
        """The source's batches from the first one on; of a generator those that are left."""
        source = self._source
        if _indexed(source):
            order = range(len(source)) if rng is None else rng.permutation(len(source))
            return (source[int(number)] for number in order)
        return iter(source)

    def _prepared(self, batch) -> Data:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise ValueError(f"{self._name} must give batches (x, y) or (x, y, sample_weight), got {type(batch).__name__}{size}")
        return weighted(self._model, prepared(self._model, *batch), self._class_weight)

    def passed(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one pass; of a generator, those that are left."""
        ahead, self._ahead = self._ahead, None
        unordered = ahead is not None and (rng is None or not _indexed(self._source))
        for batch in itertools.chain([ahead], self._raw) if unordered else self._fresh(rng):
            yield self._prepared(batch)
        if hasattr(self._source, "on_epoch_end"):
            self._source.on_epoch_end()


def stream_of(
    model: Sequential, name: str, source: Any, steps: int | None, class_weight: dict | None = None, **beside: Any
) -> Stream:
    """The `Stream` of a source; ValueError where an argument `beside` it is set that is for arrays alone."""
    refuse_beside(name, **beside)
    return Stream(model, name, source, steps, class_weight)


def refuse_beside(name: str, **beside: Any) -> None:
    """ValueError if one of the arguments `beside`, which are for arrays, is set although argument `name` gives batches."""
    for argument, value in beside.items():
        if value is not None:
            raise ValueError(f"{name} gives whole batches (x, y) or (x, y, sample_weight): {argument} is for arrays")


def inputs_of(name: str, source: Any, size: int, steps: int | None) -> Iterator[np.ndarray]:
    """Batches of inputs without targets, for predict.

    Parameters
    ----------
    name : str
        What messages call `source`.
    source : array_like, or generator, iterable or sequence of batches
        Of a batch that is a tuple, (x,) or (x, y) or longer, the first part is taken.
    size : int
        Rows of a batch, where the source is an array.
    steps : int or None
        At most that many batches; None for all.
    """
    if not gives_batches(source):
        x = as_inputs(name, source)
        batches = (x[start : start + size] for start in range(0, len(x), size))
    else:
        raw = (source[number] for number in range(len(source))) if _indexed(source) else iter(source)
        batches = (as_inputs(name, batch[0] if isinstance(batch, tuple) else batch) for batch in raw)
    return itertools.islice(batches, steps)
