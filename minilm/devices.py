"""Which device an array lives on, and which implementation serves it."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minilm import forks
from minilm.threads import parallel, parts, set_threads, threads, threads_lately
from minilm.typing import Array, DType

__all__ = [
    "DEVICES",
    "HOST",
    "IMPLEMENTATIONS",
    "VERSIONS",
    "GpuStatus",
    "aligned_zeros",
    "array_module",
    "copy_into",
    "device_of",
    "gpu_status",
    "ids_are_checked",
    "implementation",
    "implementation_for",
    "load",
    "mapped",
    "on_gpu",
    "parallel",
    "parts",
    "require",
    "set_threads",
    "threads",
    "threads_lately",
    "to",
    "to_device",
    "to_device_of",
    "to_host",
    "versions",
]

HOST = ("oracle", "cpu")  # implementations that take NumPy's arrays
IMPLEMENTATIONS = (*HOST, "gpu")
VERSIONS = ("cpu_1",)  # of the CPU's kernels, naive to fast, that some ops have beside "cpu", the last: in files of these names
DEVICES = ("cpu", "cuda")

Tree = TypeVar("Tree")  # an array, or tuples, lists and dicts of them

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("minilm_implementation", default=None)
_ids_checked: contextvars.ContextVar[bool] = contextvars.ContextVar("minilm_ids_checked", default=False)


@contextlib.contextmanager
def implementation(name: str) -> Iterator[None]:
    """Force one implementation of every op inside a ``with`` block.

    Parameters
    ----------
    name : {"oracle", "cpu", "gpu", "cpu_1"}
        ``"oracle"`` is plain NumPy, the text a person reads; ``"cpu"`` is Numba; ``"gpu"`` is CuPy and CUDA C. ``"cpu_1"`` is the
        first and plainest version of those ops that `versions` lists it for, and ``"cpu"`` for the others.

    Raises
    ------
    ValueError
        If there is no implementation of that name.

    Notes
    -----
    Outside such a block the array's type chooses: NumPy arrays are served by ``"cpu"``, CuPy's by ``"gpu"``. There is no
    silent fall back from one implementation to another. The choice belongs to the running thread (a context variable).
    """
    if name not in (*IMPLEMENTATIONS, *VERSIONS):
        raise ValueError(f"implementation must be one of {', '.join((*IMPLEMENTATIONS, *VERSIONS))}, got {name!r}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def implementation_for(array: object = None) -> str:
    """Name of the implementation that serves `array`: the forced one, or the one of its device.

    Without an array, where nothing says which device is meant, it is the forced one or ``"cpu"``.
    """
    forced = _forced.get()
    if array is None or (type(array) is np.ndarray and forced != "gpu"):
        return forced or "cpu"
    if on_gpu(array):
        if forced not in (None, "gpu"):
            raise TypeError(f"the implementation {forced!r} wants numpy arrays, got one on the device")
        return "gpu"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"an op wants numpy arrays, got {type(array).__name__}")
    if forced == "gpu":
        raise TypeError("the implementation 'gpu' wants arrays on the device: minilm.devices.to_device moves them there")
    return forced or "cpu"


@functools.cache
def load(package: str, name: str) -> ModuleType:
    """The module of one implementation, e.g. ``load("minilm.ops.lstm", "cpu")``; imported at its first use."""
    if name in VERSIONS and name not in versions(package):
        name = "cpu"
    with forks.importing:
        return importlib.import_module(f"{package}.{name}")


@functools.cache
def versions(package: str) -> tuple[str, ...]:
    """The CPU's implementations of an op, naive to fast: ``("cpu_1", "cpu")`` or only the last, which is the default."""
    with forks.importing:
        return *(name for name in VERSIONS if importlib.util.find_spec(f"{package}.{name}")), "cpu"


# --- arrays on the device ---------------------------------------------------------------------------------------------


def on_gpu(array: object) -> bool:
    """Whether `array` is one of CuPy's."""
    cupy = sys.modules.get("cupy")  # who has such an array has imported CuPy
    return cupy is not None and isinstance(array, cupy.ndarray)


def device_of(array: object) -> str:
    """``"cpu"`` or ``"cuda"``: where an array is."""
    return "cuda" if on_gpu(array) else "cpu"


def aligned_zeros(size: int, dtype: DType, like: object = None) -> Array:
    """Zeros that start at a multiple of 64 bytes, on the device of `like`; pages are claimed only when they are touched."""
    dtype = np.dtype(dtype)
    if on_gpu(like):
        return array_module(like).zeros(size, dtype)  # CuPy's start at multiples of 512
    raw = np.zeros(size * dtype.itemsize + 64, np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + size * dtype.itemsize].view(dtype)


def array_module(array: object) -> ModuleType:
    """NumPy or CuPy, whichever `array` belongs to."""
    return sys.modules["cupy"] if on_gpu(array) else np


def to_device(tree: Tree) -> Tree:
    """Copy every NumPy array of a tree of tuples, lists and dicts to the GPU; what is there already stays as it is.

    Raises
    ------
    RuntimeError
        If there is no GPU that can be used; the message says what is missing.
    """
    require("cuda")
    import cupy

    return mapped(tree, lambda leaf: cupy.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf)


def to_host(tree: Tree) -> Tree:
    """Copy every array of a tree that is on the GPU to NumPy, which waits for the GPU to be done with it."""
    return mapped(tree, lambda leaf: leaf.get() if on_gpu(leaf) else leaf)


def to(device: str, tree: Tree) -> Tree:
    """Copy every array of a tree to ``"cpu"`` or ``"cuda"``, where it does not lie there already."""
    return to_host(tree) if device == "cpu" else to_device(tree)


def to_device_of(like: object, tree: Tree) -> Tree:
    """Copy every array of a tree to where `like` is: an array, or a model (one that has no ``device`` computes on the host)."""
    return to_device(tree) if on_gpu(like) or getattr(like, "device", "cpu") == "cuda" else to_host(tree)


def copy_into(target: Array, array: Array) -> None:
    """Copy `array`, from wherever it lies, over the numbers of `target`; from a file too (`minilm.weights.StoredArray`)."""
    if hasattr(array, "copy_to"):
        array.copy_to(target)
    elif on_gpu(target) and not on_gpu(array):
        target.set(np.ascontiguousarray(array, target.dtype))
    else:
        target[...] = array if on_gpu(target) else to_host(array)


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """A tree of tuples, lists and dicts with ``function(leaf)`` in place of each leaf."""
    if isinstance(tree, dict):
        return {key: mapped(part, function) for key, part in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [mapped(part, function) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(tree)


@contextlib.contextmanager
def ids_are_checked() -> Iterator[None]:
    """Inside this block, ids on the device are taken to be in range: the host has checked them before it copied them.

    A check on the device would wait for it: a training step does not. Kernels read nothing out of range all the same: a wrong
    id gives NaN.
    """
    token = _ids_checked.set(True)
    try:
        yield
    finally:
        _ids_checked.reset(token)


def ids_checked() -> bool:
    """Whether `ids_are_checked` holds."""
    return _ids_checked.get()


# --- is there a GPU ---------------------------------------------------------------------------------------------------


class GpuStatus(NamedTuple):
    """Whether a GPU can be used."""

    available: bool
    reason: str  # its name, or what is missing and how to get it


@functools.cache
def gpu_status() -> GpuStatus:
    """Whether a GPU can be used, or else what is missing: CuPy, the driver, a device, or a library of CUDA's. Asked once."""
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", None) == "cupy":
            return GpuStatus(False, "CuPy is not installed: pip install 'minilm[cuda13]' (or [cuda12], for an older driver)")
        return GpuStatus(False, f"CuPy cannot be imported: {_line(error)}")
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if "InsufficientDriver" in str(error):  # it says so where there is no driver at all
            driver = runtime.driverGetVersion()
            had = f"its version is {driver // 1000}.{driver % 1000 // 10}" if driver else "there is none"
            return GpuStatus(False, f"no NVIDIA driver that CuPy can use ({had}): install or update the driver")
        if "NoDevice" in str(error):
            return GpuStatus(False, "the NVIDIA driver sees no GPU: is one there, and does CUDA_VISIBLE_DEVICES name it?")
        return GpuStatus(False, f"CUDA does not start: {_line(error)}")
    if count == 0:
        return GpuStatus(False, "the NVIDIA driver sees no GPU: is one there, and does CUDA_VISIBLE_DEVICES name it?")
    try:  # CuPy alone has neither the compiler nor cuBLAS, and says so only now
        from minilm import gpu_trial

        gpu_trial.run()
    except Exception as error:  # CuPy's errors have no common base
        return GpuStatus(False, f"a kernel does not run ({_line(error)}): pip install 'minilm[cuda13]' brings NVRTC and cuBLAS")
    return GpuStatus(True, runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())


def require(device: str) -> None:
    """RuntimeError with the reason in one line, unless arrays can live on `device` (``"cpu"`` or ``"cuda"``)."""
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    if device == "cuda" and not gpu_status().available:
        raise RuntimeError(f"no GPU can be used: {gpu_status().reason}")


def _line(error) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def __dir__() -> list[str]:
    return sorted(__all__)
