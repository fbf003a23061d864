"""cupy.cuda: one device, streams that do nothing, graphs that repeat."""

from __future__ import annotations

import contextlib
import time
import types

import numpy as np

from minilm.ops.cuda.emulated import arrays, raw

_streams: list[Stream] = []  # the current one last


class Stream:
    """cupy.cuda.Stream: whatever is launched has ended when the launch returns."""

    null = None
    count = 0

    def __init__(self, null=False, non_blocking=False):
        if not null:
            Stream.count += 1
        self.ptr = 0 if null else 256 * Stream.count

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *_):
        _streams.pop()

    def synchronize(self):
        arrays.wait("synchronize")

    def wait_event(self, event):
        pass

    def record(self, event=None):
        return Event()

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if current() is not self:
            raise RuntimeError("nothing would be captured: another stream is the current one")
        arrays.tapes.append(arrays.Tape())

    def end_capture(self):
        return Graph(arrays.tapes.pop())


Stream.null = Stream(null=True)


def current() -> Stream:
    """cupy.cuda.get_current_stream"""
    return _streams[-1] if _streams else Stream.null


class Graph:
    """cupy.cuda.Graph"""

    launched = 0  # of all graphs

    def __init__(self, tape):
        self._tape = tape

    def launch(self, stream=None):
        Graph.launched += 1
        for action in self._tape.actions:
            action()


class Event:
    """cupy.cuda.Event"""

    done = True

    def __init__(self, *_, **__):
        pass

    def record(self, stream=None):
        self.at = time.perf_counter()

    def synchronize(self):
        arrays.wait("synchronize")


class Memory:
    """cupy.cuda.MemoryPointer"""

    def __init__(self, size):
        arrays.forbidden("an allocation of this kind")
        self._memory = np.empty(size, np.uint8)
        self.ptr = self._memory.ctypes.data


class MemoryPool:
    """cupy.cuda.MemoryPool; which pool memory comes from makes no difference here."""

    def malloc(self, size):
        return Memory(size)

    def free_all_blocks(self):
        arrays.wait("free_all_blocks")


class Device:
    """cupy.cuda.Device"""

    compute_capability = "90"
    id = 0

    def __init__(self, number=0):
        self.id = number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def use(self):
        return self

    def synchronize(self):
        arrays.wait("synchronize")


def make() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("cupy.cuda")
    module.Device, module.Stream, module.Event, module.MemoryPool = Device, Stream, Event, MemoryPool
    module.get_current_stream, module.alloc = current, Memory
    module.get_elapsed_time = lambda first, last: 1e3 * (last.at - first.at)
    module.is_available = lambda: True
    module.alloc_pinned_memory = lambda size: bytearray(size)
    module.runtime = types.SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: 1,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13020,
        getDeviceProperties=lambda number: {
            "name": b"a CPU that plays a GPU",
            "totalGlobalMem": 1 << 34,
            "multiProcessorCount": raw.MULTIPROCESSORS,
            "sharedMemPerBlockOptin": 227 * 1024,
            "cooperativeLaunch": 1,
        },
        deviceSynchronize=lambda: arrays.wait("synchronize"),
        memGetInfo=lambda: (1 << 34, 1 << 34),
    )
    module.using_allocator = contextlib.nullcontext
    return module
