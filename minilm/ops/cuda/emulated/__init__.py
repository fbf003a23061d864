"""CUDA kernels on the CPU: g++ compiles the same .cu files against a header that plays the GPU. README.md has the whole story.

===============  ===================================================================================================
``include/``     the header, ``shim.h``, and the runtime, ``runtime.cpp``: fibres, barriers, blocks
``loader.py``    compiles a source and launches its kernels on NumPy's memory
this package     so much of CuPy as minilm uses, on that memory; `installed` puts it in CuPy's place
===============  ===================================================================================================

It is as strict as CuPy: an array of the host in an operation with one of the device is a TypeError, and nothing turns one into
the other by itself. What would make a program wait for the device is counted in `waits`.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types

import numpy as np

from minilm.ops.cuda.emulated import arrays, cublas, cuda, loader, raw
from minilm.ops.cuda.emulated.arrays import ndarray, waits
from minilm.ops.cuda.emulated.loader import CompileError, LaunchError, missing

__all__ = ["CompileError", "LaunchError", "installed", "loader", "missing", "ndarray", "raw", "waits"]

_FUNCTIONS = (
    "add argmax argsort ascontiguousarray broadcast_to concatenate cumsum empty_like exp full_like isfinite log "
    "matmul maximum minimum mean multiply ones_like repeat reshape sqrt square stack subtract sum take tanh tile transpose where "
    "zeros_like take_along_axis sort abs any all max min clip pad moveaxis swapaxes expand_dims split count_nonzero outer"
).split()
_MAKERS = ("empty", "zeros", "ones", "full", "arange", "eye")


def _module() -> types.ModuleType:
    module = types.ModuleType("cupy")
    module.__version__ = "14.2.0"
    module.ndarray = ndarray
    for name in _FUNCTIONS:
        setattr(module, name, arrays.on_device(getattr(np, name)))
    for name in ("flatnonzero", "nonzero", "unique"):
        setattr(module, name, arrays.waiting(getattr(np, name)))
    for name in _MAKERS:
        setattr(module, name, arrays.maker(getattr(np, name)))
    module.asarray = arrays.upload
    module.array = lambda a, dtype=None, copy=True: arrays.upload(a, dtype).copy()
    module.asnumpy = arrays.download
    module.get_array_module = lambda *a: module if any(isinstance(x, ndarray) for x in a) else np
    module.RawModule = raw.RawModule
    module.cuda = cuda.make()
    module.get_default_memory_pool = cuda.MemoryPool
    for name in ("float32", "float64", "int32", "int64", "uint32", "uint16", "bool_", "newaxis", "inf", "nan", "dtype", "int8"):
        setattr(module, name, getattr(np, name))
    return module


@contextlib.contextmanager
def installed(order: str = "ascending", sanitizer: str = "none"):
    """``import cupy`` finds this inside the block; kernels run in this order of threads, with this sanitizer."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cupy"}
    settings = raw.SETTINGS.copy()
    raw.SETTINGS.update(order=order, sanitizer=sanitizer)
    module = _module()
    sys.modules.update({"cupy": module, "cupy.cuda": module.cuda})
    _forget()
    importlib.import_module("minilm.ops.cuda.cublas").library = cublas.Library
    try:
        yield module
    finally:
        for name in ("cupy", "cupy.cuda"):
            sys.modules.pop(name, None)
        sys.modules.update(before)
        raw.SETTINGS.update(settings)
        _forget()


def _forget() -> None:
    """Modules that hold the other CuPy are imported anew, and what was cached of the device is dropped."""
    from minilm import devices

    held = ("minilm.ops.cuda.columns", "minilm.ops.cuda.cublas", "minilm.ops.cuda.products", "minilm.gpu_trial")
    for name in [n for n in sys.modules if (n.startswith("minilm.ops.") and n.endswith((".gpu", ".sliced"))) or n in held]:
        parent, _, child = name.rpartition(".")
        if hasattr(sys.modules.get(parent), child):
            delattr(sys.modules[parent], child)
        del sys.modules[name]
    if "minilm.ops.cuda.table" in sys.modules:
        sys.modules["minilm.ops.cuda.table"].TABLES.clear()
    devices.gpu_status.cache_clear()
    devices.load.cache_clear()
