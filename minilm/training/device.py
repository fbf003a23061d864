"""What training on a device needs, once the model is there.

`active` sets the precision of products. For a GPU, `Upload` copies each batch while the step before still runs, and `Unread`
keeps losses on the device and reads many at once, since reading one means waiting for the GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minilm import devices
from minilm.ops.precision import precision as products_in
from minilm.ops.precision import require
from minilm.typing import Scalar

__all__ = ["READ_EVERY", "Unread", "Upload", "active", "uploader"]

READ_EVERY = 50  # steps on a GPU, at most, until the host reads their losses, for which it waits


@contextlib.contextmanager
def active(device: str, precision: str = "float32") -> Iterator[None]:
    """Inside this block products have a precision; and ids on a GPU are not checked, since they were when the batch was made.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    precision : {"float32", "tf32", "bf16"}
        See `minilm.ops.precision`.

    Raises
    ------
    ValueError
        If products cannot be computed so on the device.
    """
    require(device, precision)
    with products_in(precision), contextlib.nullcontext() if device == "cpu" else devices.ids_are_checked():
        yield


def uploader(device: str) -> Callable[[tuple], tuple]:
    """The function that copies a batch to a device: an `Upload`; on a CPU it returns the batch itself."""
    return (lambda batch: batch) if device == "cpu" else Upload()


class Upload:
    """Copies a batch ahead to the GPU: ``on_gpu = upload(batch)``, for the step that follows and no later one.

    Two sets of pinned buffers take turns: the host fills one while the GPU still reads the other. From pageable memory every
    copy would wait for the GPU.

    The copies' stream keeps no order with the one that computes, and CuPy hands memory that was let go to whoever asks next on
    the same stream. So a batch is kept until the next but one is copied, and that copy waits for all that had been launched when
    the next one came: for everything that reads the memory it may be given.
    """

    SETS = 2

    def __init__(self) -> None:
        import cupy

        devices.require("cuda")
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: dict[tuple, np.ndarray] = {}
        self._used = [None] * self.SETS  # events after which a set may be filled again
        self._kept: list = [None] * self.SETS  # the arrays of the last calls
        self._launched = None  # event: all that had been launched at the call before
        self._turn = 0

    def __call__(self, tree: Any) -> Any:
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
            copies = devices.mapped(tree, lambda leaf: self._copied(turn, next(place), leaf))
            self._used[turn] = self._stream.record()
        self._kept[turn] = copies
        main.wait_event(self._used[turn])
        self._launched = main.record()
        return copies

    def _copied(self, turn: int, place: int, leaf):
        if not isinstance(leaf, np.ndarray):
            return leaf
        copy = self._cupy.empty(leaf.shape, leaf.dtype)
        copy.set(self._pin(turn, place, leaf))
        return copy

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


class Unread:
    """Losses of steps, and the norms of their gradients, that have not been read yet.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where they lie: to read them from a GPU is to wait for it.
    """

    def __init__(self, device: str):
        self._every = 1 if device == "cpu" else READ_EVERY
        self._steps: list[tuple] = []

    def add(self, step: int, loss: Scalar | float, norm: Scalar | float | None) -> None:
        """Add the loss and the norm of a step, whose norm may be None."""
        self._steps.append((step, loss, norm))

    @property
    def due(self) -> bool:
        """Whether it is time to read them: on a CPU after every step, on a GPU after `READ_EVERY`."""
        return len(self._steps) >= self._every

    def read(self) -> list[tuple[int, float, float | None]]:
        """(step, loss, norm) of all of them, which are forgotten then."""
        steps, self._steps = devices.to_host(self._steps), []
        return [(step, float(loss), None if norm is None else float(norm)) for step, loss, norm in steps]
