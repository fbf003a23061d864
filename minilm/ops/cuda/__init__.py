"""What the GPU implementations of all ops share: kernel tables, launches, and the sources' common header.

An op's ``gpu.py`` has a table of the kernels in the ``gpu.cu`` beside it, and the functions that launch them, which take and
return CuPy arrays. Nothing here imports CuPy before the first launch.

On a device CuPy's memory pool is the workspace: it hands out memory of an earlier step without asking the driver.

Where one task is written several times, from the plain kernel to the fast one, the functions take ``version``, its number: the
default is the last, or the fastest that fits where the module says so. The others are tested and benchmarked like it, and are for
reading, in order; the head of the .cu file lists them. ``VERSIONS`` of a module says how many each function has.

Two things stand in one place, so that Python and CUDA C cannot differ. Sizes of tiles and blocks are numbers of gpu.py, which
reach the compiler by ``defines``. Parameters that several kernels share are a struct of the .cu file, which gpu.py packs by the
names of its fields (`minilm.ops.cuda.arguments`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

from minilm.ops.cuda.table import TABLES, Kernel, Kernels, blocks, whole_warps
from minilm.ops.precision import PRECISIONS
from minilm.random import Key
from minilm.typing import Array, DType

__all__ = ["PRECISIONS", "TABLES", "Kernel", "Kernels", "at_version", "blocks", "key_arguments", "on_device", "whole_warps"]


@contextlib.contextmanager
def at_version(module: ModuleType, number: int) -> Iterator[None]:
    """Inside this block a gpu.py's functions take their version `number`, or their last where they have not so many."""
    kept = {name: getattr(module, name) for name in getattr(module, "VERSIONS", {})}
    for name, function in kept.items():
        setattr(module, name, _with_version(function, min(number, module.VERSIONS[name])))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(module, name, function)


def _with_version(function, number: int):
    def chosen(*arguments, **options):
        return function(*arguments, **{"version": number, **options})

    return chosen


def key_arguments(key: Key | None = None) -> dict:
    """A `minilm.random.Key` as the struct KeyArguments of philox.h; without one it is for a kernel that draws nothing."""
    low = 2**32 - 1
    seed, step, place = key or (0, 0, 0)
    number, on_device = (step, None) if isinstance(step, int) else (0, step)
    c = {"place": place & low, "step_lo": number & low, "step_hi": number >> 32}
    k = {"seed_lo": seed & low, "seed_hi": seed >> 32 ^ place >> 32}  # with the upper half of the place: see philox's spec
    return {"step": on_device, **c, **k}


def on_device(number: float | Array, dtype: DType) -> Array:
    """`number` as an array of one element: itself where it is on the device already."""
    import cupy

    if isinstance(number, cupy.ndarray):
        return number
    return cupy.full(1, number, dtype)


def __dir__() -> list[str]:
    return sorted(__all__)
