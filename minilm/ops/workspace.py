"""Arrays that one training step after another reuses."""

from __future__ import annotations

import contextlib
import math

import numpy as np


class Workspace:
    """A sequence of buffers, handed out in order of request and handed out again after `reset`.

    A training step asks for the same arrays in the same order every time, so after the first step nothing is
    allocated: no page faults, which on a CPU can cost more than the arithmetic. Arrays from before a `reset` are
    overwritten after it: copy what must outlive the step.

    Parameters
    ----------
    poison : bool
        Fill every array with NaN (all bits set) before handing it out, so that reading what was never written shows.
        For tests.
    """

    def __init__(self, poison: bool = False):
        self._buffers: list[np.ndarray] = []
        self._next = 0
        self._poison = poison

    def reset(self) -> None:
        """Start a new step: every array handed out so far may be handed out again."""
        self._next = 0

    @contextlib.contextmanager
    def scratch(self):
        """Arrays asked for inside this block are given back at its end."""
        mark = self._next
        try:
            yield self
        finally:
            self._next = mark

    def empty(self, shape, dtype) -> np.ndarray:
        """An uninitialised C-contiguous array of the given shape and dtype, aligned to 64 bytes."""
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        dtype = np.dtype(dtype)
        wanted = math.prod(shape) * dtype.itemsize
        if self._next == len(self._buffers):
            self._buffers.append(np.empty(0, np.uint8))
        buffer = self._buffers[self._next]
        if buffer.nbytes < wanted:
            raw = np.empty(wanted + 64, np.uint8)
            offset = -raw.ctypes.data % 64
            buffer = self._buffers[self._next] = raw[offset : offset + wanted]
        self._next += 1
        if self._poison:
            buffer[:wanted] = 0xFF
        return buffer[:wanted].view(dtype).reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(buffer.nbytes for buffer in self._buffers)


def empty_from(workspace: Workspace | None):
    """The function that allocates: `workspace.empty`, or `np.empty` without one."""
    return np.empty if workspace is None else workspace.empty


def scratch_of(workspace: Workspace | None):
    """``with scratch_of(workspace):`` gives back at its end what was asked for inside; nothing to do without one."""
    return contextlib.nullcontext() if workspace is None else workspace.scratch()
