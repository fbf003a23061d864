"""CUDA graphs: what is captured once, kernel by kernel, and then launched as one.

Two things follow from what a graph is, and the first is the caller's business:

- **Numbers of a launch are those of the capture.** What changes from launch to launch lies on the device, and is written before.
- **Memory of a launch is that of the capture.** The graph has a memory pool of its own, which no other work uses; the
  next launch overwrites what this one returned.

References
----------
NVIDIA, CUDA C++ Programming Guide, "CUDA Graphs"; CuPy, `cupy.cuda.Stream.begin_capture`.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from minilm import devices

__all__ = ["Captured", "capture", "own_stream", "renew"]


class Captured(NamedTuple):
    """A graph."""

    graph: object
    result: object  # what the captured function returned: its arrays have their numbers after a launch
    pool: object  # whose memory the graph works in

    def launch(self) -> None:
        """Start it on the current stream."""
        self.graph.launch()


def capture(function) -> Captured:
    """What `function()` launches, as a graph; nothing of it runs yet.

    The function must have run before, so that its kernels are compiled and what it keeps is made. The current stream must not be
    the default one: see `own_stream`.
    """
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()  # what the function needed when it ran, the graph's own pool will have
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.get_current_stream()
    with cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        try:
            result = function()
        except BaseException:
            with contextlib.suppress(Exception):
                stream.end_capture()
            raise
        return Captured(stream.end_capture(), result, pool)


def renew(inputs, tree) -> None:
    """Copy the arrays of a tree over those, of a tree of the same form, that a graph reads."""
    if isinstance(inputs, tuple):
        for array, value in zip(inputs, tree, strict=True):
            renew(array, value)
    elif devices.on_gpu(inputs):
        inputs[...] = tree


@contextlib.contextmanager
def own_stream(stream=None):
    """Inside this block work goes to a stream of its own, a new one or `stream`, which a graph can be captured from.

    It keeps no order with the default stream, so it waits at the start for what was launched there, and at the end the host waits
    for it.
    """
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True) if stream is None else stream
    stream.wait_event(cupy.cuda.get_current_stream().record())
    with stream:
        try:
            yield stream
        finally:
            stream.synchronize()
