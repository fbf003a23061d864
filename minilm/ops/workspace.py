"""Arrays that one training step after another reuses.

The workspace is a context, as the implementation is one: no formula mentions it, so no function hands it on.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
from collections.abc import Iterator
from typing import TypeVar, cast

import numpy as np

from minilm import devices
from minilm.typing import DType

Item = TypeVar("Item")
ALIGN = 64  # bytes: a line of the cache, and the widest vector
BLOCK = 1 << 26  # bytes asked of the system at a time; it hands out only the pages that are written to


_active: contextvars.ContextVar[Workspace | None] = contextvars.ContextVar("minilm_workspace", default=None)


class Workspace:
    """A stack of arrays, cut from a few large blocks and cut anew after `reset`.

    ``with workspace:`` makes it the active one of the running thread: inside, every op, layer and model takes its arrays from it.
    A training step needs much the same arrays every time, so after the first step nothing is allocated: no page faults,
    which on a CPU can cost more than the arithmetic. Arrays from before a `reset` are overwritten after it: copy what must
    outlive the step. A workspace serves one thread at a time.

    Parameters
    ----------
    poison : bool
        Fill every array with NaN (all bits set) before handing it out, so that reading what was never written shows.
        For tests.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import Workspace, ops
    >>> workspace = Workspace()
    >>> for step in range(3):
    ...     with workspace.step():
    ...         y, saved = ops.softmax.forward(np.ones((2, 4)))
    >>> workspace.nbytes
    64
    """

    def __init__(self, poison: bool = False):
        self._tokens: list[contextvars.Token] = []
        self._thread = 0  # the one that it is active in
        self._blocks: list[np.ndarray] = []
        self._tops: list[int] = []  # the most of each block that was ever in use
        self._block, self._used = 0, 0  # where the next array begins
        self._poison = poison

    def __enter__(self) -> Workspace:
        thread = threading.get_ident()
        if self._tokens and self._thread != thread:
            raise RuntimeError("this workspace is active in another thread: each thread needs one of its own")
        self._thread = thread
        self._tokens.append(_active.set(self))
        return self

    def __exit__(self, *error) -> None:
        _active.reset(self._tokens.pop())

    @contextlib.contextmanager
    def step(self) -> Iterator[Workspace]:
        """``with workspace.step():`` starts a new step (`reset`) and makes the workspace the active one inside.

        Raises
        ------
        RuntimeError
            If the workspace is in a step already.
        """
        with self:
            if len(self._tokens) > 1:
                raise RuntimeError("this workspace is in a step already, whose arrays a second would overwrite: take another one")
            self.reset()
            yield self

    def reset(self) -> None:
        """Start a new step: every array handed out so far may be handed out again."""
        self._block, self._used = 0, 0

    def scratch(self) -> _Scratch:
        """Arrays cut inside this block are given back at its end."""
        return _Scratch(self)

    def release_after(self, array: np.ndarray) -> None:
        """Give back what was cut after `array`, which came from this workspace: gradients that have been accumulated.

        Nothing happens if it came from elsewhere.
        """
        if devices.on_gpu(array):
            return
        start = array.__array_interface__["data"][0]
        for number in range(min(self._block + 1, len(self._blocks)) if array.size else 0):
            begin = self._blocks[number].__array_interface__["data"][0]
            if begin <= start < begin + self._blocks[number].nbytes:
                self._block, self._used = number, -(-(start - begin + array.nbytes) // ALIGN) * ALIGN

    def empty(self, shape: int | tuple[int, ...], dtype: DType) -> np.ndarray:
        """An uninitialised C-contiguous array of the given shape and dtype, aligned to 64 bytes."""
        dtype = np.dtype(dtype)
        count = shape if isinstance(shape, (int, np.integer)) else math.prod(shape)
        size = -(-count * dtype.itemsize // ALIGN) * ALIGN  # bytes, in whole lines
        if self._block == len(self._blocks) or self._used + size > self._blocks[self._block].nbytes:
            self._next_block(size)
        begin, block = self._used, self._blocks[self._block]
        self._used = end = begin + size
        if end > self._tops[self._block]:
            self._tops[self._block] = end
        if self._poison:
            block[begin:end] = 0xFF
        return np.ndarray(shape, dtype, block, begin)

    def _next_block(self, least: int) -> None:
        following = self._block + 1 if self._blocks else 0
        if following == len(self._blocks) or self._blocks[following].nbytes < least:
            size = -(-max(least, BLOCK) // ALIGN) * ALIGN
            raw = np.empty(size + ALIGN, np.uint8)
            offset = -raw.ctypes.data % ALIGN
            self._blocks[following:] = [raw[offset : offset + size]]  # none of those behind is in use
            self._tops[following:] = [0]
        self._block, self._used = following, 0

    @property
    def nbytes(self) -> int:
        """Most bytes that were in use."""
        return sum(self._tops)


class _Scratch:
    """What `Workspace.scratch` returns: at the end of the block the next array begins where it would have at its start."""

    __slots__ = ("_mark", "_workspace")

    def __init__(self, workspace: Workspace):
        self._workspace = workspace

    def __enter__(self) -> Workspace:
        self._mark = self._workspace._block, self._workspace._used
        return self._workspace

    def __exit__(self, *error) -> None:
        self._workspace._block, self._workspace._used = self._mark


_NOTHING = contextlib.nullcontext()  # holds nothing, so one serves all


def empty(shape, dtype, like=None) -> np.ndarray:
    """An uninitialised array on the device of `like`: cut from the active workspace, or fresh without one.

    On a GPU CuPy's memory pool is the workspace.
    """
    if like is not None and devices.on_gpu(like):
        return devices.array_module(like).empty(shape, dtype)
    workspace = _active.get()
    return np.empty(shape, dtype) if workspace is None else workspace.empty(shape, dtype)


def scratch():
    """``with scratch():`` gives back at its end what `empty` cut inside it from the active workspace."""
    workspace = _active.get()
    return _NOTHING if workspace is None else _Scratch(workspace)


def release_after(array: np.ndarray) -> None:
    """Give back what was cut from the active workspace after `array`; see `Workspace.release_after`."""
    workspace = _active.get()
    if workspace is not None:
        workspace.release_after(array)


@contextlib.contextmanager
def outside():
    """Inside this block no workspace is active: what is allocated outlives the step."""
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


def lasting(items: Iterator[Item]) -> Iterator[Item]:
    """A generator's items. It runs `outside`, since what it keeps from one item to the next outlives the steps of its caller."""
    end = object()
    while True:
        with outside():
            item = next(items, end)
        if item is end:
            return
        yield cast(Item, item)
