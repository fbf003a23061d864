"""Batches on their way to the GPU: copied from pinned memory on a stream of their own, while the step before still runs."""

from __future__ import annotations

import numpy as np

from minilm import devices

__all__ = ["Upload"]


class Upload:
    """Copies a batch ahead to the GPU: ``there = upload(batch)``, for the step that follows and no later one.

    Two sets of pinned buffers take turns: the host fills one while the GPU still reads the other. From pageable memory every
    copy would wait for the GPU.

    The copies' stream keeps no order with the one that computes, and CuPy hands memory that was let go to whoever asks next on
    the same stream. So a batch is kept until the next but one is copied, and that copy waits for all that had been launched when
    the next one came: for everything that reads the memory it may be given.
    """

    SETS = 2

    def __init__(self):
        import cupy

        devices.require("cuda")
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: dict[tuple, np.ndarray] = {}
        self._used = [None] * self.SETS  # events after which a set may be filled again
        self._kept: list = [None] * self.SETS  # the arrays of the last calls
        self._launched = None  # event: all that had been launched at the call before
        self._turn = 0

    def __call__(self, tree):
        """The arrays of a tree of tuples, lists and dicts on the GPU; what is no array stays as it is."""
        turn = self._turn = (self._turn + 1) % self.SETS
        if self._used[turn] is not None:
            self._used[turn].synchronize()  # SETS copies ago: long done
        main = self._cupy.cuda.get_current_stream()
        self._kept[turn] = None
        with self._stream:
            if self._launched is not None:
                self._stream.wait_event(self._launched)
            place = iter(range(2**31))
            there = devices.mapped(tree, lambda leaf: self._copied(turn, next(place), leaf))
            self._used[turn] = self._stream.record()
        self._kept[turn] = there
        main.wait_event(self._used[turn])
        self._launched = main.record()
        return there

    def _copied(self, turn: int, place: int, leaf):
        if not isinstance(leaf, np.ndarray):
            return leaf
        there = self._cupy.empty(leaf.shape, leaf.dtype)
        there.set(self._pin(turn, place, leaf))
        return there

    def _pin(self, turn: int, place: int, array: np.ndarray) -> np.ndarray:
        """The array's numbers in pinned memory."""
        kind = turn, place, array.dtype
        buffer = self._pinned.get(kind)
        if buffer is None or buffer.size < array.size:
            raw = self._cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
            buffer = self._pinned[kind] = np.frombuffer(raw, array.dtype, array.size)
        pinned = buffer[: array.size].reshape(array.shape)
        pinned[...] = array
        return pinned
