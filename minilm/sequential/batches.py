"""Where batches come from: arrays that lie in memory, or whatever gives one batch after the other.

::

    Rows      arrays x, y and weights: cut into batches, in a new order for each pass
    Stream    a generator, which gives its batches once; or an iterable, or a sequence of batches with ``len`` and ``[i]``
              (Keras's PyDataset, a DataLoader), which gives them anew for each pass

Both give the batches of one epoch after the other: an epoch is one pass, or `steps` batches of one, of which the next epoch takes
those that follow.
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
    """Whether x is no array, nor what an array can be made of, but gives batches one after the other."""
    if isinstance(x, (list, tuple, range, dict, str, bytes)) or hasattr(x, "__array__") or hasattr(x, "dtype"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or _indexed(x)


def _indexed(x) -> bool:
    return hasattr(x, "__len__") and hasattr(x, "__getitem__")


def size_of(batch_size: int | None) -> int:
    """Rows of a batch: 32 without `batch_size`."""
    return BATCH if batch_size is None else checks.whole("batch_size", batch_size, 1, 2**31)


def steps_of(name: str, value: Any) -> int | None:
    """A number of batches, or None."""
    return None if value is None else checks.whole(name, value, 1, 2**31)


class _Epochs:
    """What both kinds share: epochs cut out of passes."""

    steps: int | None  # of an epoch
    in_a_pass: int | None  # batches, where that is known
    once = False  # whether there is one pass alone
    _going: Iterator[Data] | None = None  # the pass that the last epoch did not end

    def passed(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one pass, in an order drawn from `rng`, or as they come."""
        raise NotImplementedError

    def epoch(self, rng: np.random.Generator | None) -> Iterator[Data]:
        """The batches of one epoch; fewer where the pass has no more: then the next epoch begins another one."""
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
    """Base of a sequence of batches of one's own, as Keras has it: define ``__len__`` and ``__getitem__``.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size
        Accepted as Keras accepts them; batches are made one after the other, in the thread that trains.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        pass

    def __len__(self) -> int:
        """Batches of a pass."""
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def __getitem__(self, index: int) -> tuple:
        """Batch (x, y) or (x, y, sample_weight) number `index`."""
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def on_epoch_end(self) -> None:
        """Called after each pass."""


class Stream(_Epochs):
    """Batches (x, y) or (x, y, sample_weight) as a generator, an iterable or a sequence of them gives them.

    Parameters
    ----------
    model : Sequential
        Built for the first batch where it is not built yet.
    name : str
        What `given` is called in messages.
    given : generator, iterable, or sequence of batches
    steps : int, optional
        Batches of an epoch.
    class_weight : dict, optional
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
        """The batches as they are given: anew, but for a generator, which goes on."""
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
    """The stream of what gives batches, beside which no other argument may say what it gives itself."""
    refuse_beside(name, **beside)
    return Stream(model, name, source, steps, class_weight)


def refuse_beside(name: str, **beside: Any) -> None:
    """ValueError for an argument that belongs to arrays, beside one that gives batches."""
    for argument, value in beside.items():
        if value is not None:
            raise ValueError(f"{name} gives whole batches (x, y) or (x, y, sample_weight): {argument} is for arrays")


def inputs_of(name: str, source: Any, size: int, steps: int | None) -> Iterator[np.ndarray]:
    """The inputs alone, for predict: batches of an array's rows, or x of the batches x, (x,), (x, y) ... that something gives."""
    if not gives_batches(source):
        x = as_inputs(name, source)
        batches = (x[start : start + size] for start in range(0, len(x), size))
    else:
        raw = (source[number] for number in range(len(source))) if _indexed(source) else iter(source)
        batches = (as_inputs(name, batch[0] if isinstance(batch, tuple) else batch) for batch in raw)
    return itertools.islice(batches, steps)
