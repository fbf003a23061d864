"""cupy.cuda: one device, streams that do nothing, and cuBLAS's product."""

from __future__ import annotations

import contextlib
import ctypes
import time
import types

import numpy as np

from tests.cuda_on_cpu.fake_cupy import arrays, raw

R_32F, R_16BF, FAST_TF32 = 0, 14, 77


def _at(pointer: int, count: int, dtype):
    kind = {"float32": ctypes.c_float, "uint16": ctypes.c_uint16}[np.dtype(dtype).name]
    return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(kind)), (count,))


def _matrix(pointer, kind, rows, columns, lead, compute):
    """A matrix whose first index runs fastest, as float32; rounded as the tensor cores do."""
    raw = _at(pointer, lead * columns, np.uint16 if kind == R_16BF else np.float32).reshape(columns, lead)[:, :rows].T
    if kind == R_16BF:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    if compute == FAST_TF32:
        return (np.ascontiguousarray(raw).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return raw


def gemm_ex(handle, turn_a, turn_b, m, n, k, alpha, a, kind_a, lead_a, b, kind_b, lead_b, beta, c, kind_c, lead_c, compute, algo):
    """cublasGemmEx: c = alpha op(a) op(b) + beta c"""
    left = _matrix(a, kind_a, *((k, m) if turn_a else (m, k)), lead_a, compute)
    right = _matrix(b, kind_b, *((n, k) if turn_b else (k, n)), lead_b, compute)
    product = (left.T if turn_a else left) @ (right.T if turn_b else right)
    out = _at(c, lead_c * n, np.float32).reshape(n, lead_c)[:, :m]
    factor, kept = _at(alpha, 1, np.float32)[0], _at(beta, 1, np.float32)[0]
    out[...] = factor * product.T + (kept * out if kept else 0)


class Stream:
    """cupy.cuda.Stream: whatever is launched has ended when the launch returns."""

    null = None

    def __init__(self, *_, **__):
        self.ptr = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def synchronize(self):
        arrays.wait("synchronize")

    def wait_event(self, event):
        pass

    def record(self, event=None):
        return Event()


class Event:
    """cupy.cuda.Event"""

    def __init__(self, *_, **__):
        pass

    def record(self, stream=None):
        self.at = time.perf_counter()

    def synchronize(self):
        arrays.wait("synchronize")


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

    def synchronize(self):
        arrays.wait("synchronize")


def make() -> types.ModuleType:
    """The module."""
    module = types.ModuleType("cupy.cuda")
    module.Device, module.Stream, module.Event = Device, Stream, Event
    module.get_current_stream = Stream
    module.get_elapsed_time = lambda first, last: 1e3 * (last.at - first.at)
    module.is_available = lambda: True
    module.cublas = types.SimpleNamespace(gemmEx=gemm_ex)
    module.device = types.SimpleNamespace(get_cublas_handle=lambda: 0)
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
