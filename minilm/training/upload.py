"""Batches on their way to the GPU: copied from pinned memory on a stream of their own, while the step before still runs."""

from __future__ import annotations

import numpy as np

from minilm import devices

__all__ = ["Upload"]


class Upload:
    """Copies a batch ahead to the GPU.

    Two sets of pinned buffers take turns: the host fills one while the GPU still reads the other. From pageable memory every
    copy would wait for the GPU.
    """

    SETS = 2

    def __init__(self):
        import cupy

        devices.require("cuda")
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: dict[tuple, np.ndarray] = {}
        self._used = [None] * self.SETS  # events after which a set may be filled again
        self._turn = 0

    def __call__(self, arrays: tuple) -> tuple:
        """The arrays on the GPU; what is no array stays as it is."""
        turn = self._turn = (self._turn + 1) % self.SETS
        if self._used[turn] is not None:
            self._used[turn].synchronize()  # SETS copies ago: long done
        found = []
        with self._stream:
            for place, array in enumerate(arrays):
                if not isinstance(array, np.ndarray):
                    found.append(array)
                    continue
                there = self._cupy.empty(array.shape, array.dtype)
                there.set(self._pin(turn, place, array))
                found.append(there)
            self._used[turn] = self._stream.record()
        self._cupy.cuda.get_current_stream().wait_event(self._used[turn])
        return tuple(found)

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
