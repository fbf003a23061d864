"""What the bits of a result depend on, beside the run's settings: versions, the vectors of the processor, and NumPy's BLAS."""

from __future__ import annotations

import functools
import importlib.metadata

import numpy as np

import minilm

__all__ = ["DEPENDS", "blas", "differences", "machine"]

DEPENDS = (
    "vector and fma: sums of a vector's width, and whether a product is rounded before it is added",
    "minilm, numba and llvmlite: which instructions a kernel becomes, and in which order it adds",
    "blas: only where NumPy still multiplies, see `minilm info`",
    "nothing else: neither on the number of threads, nor on what stands beside a row in its batch, nor on the time of day",
)


@functools.cache
def _facts() -> dict[str, str]:
    from minilm.ops import target

    features = target.features().split(",")
    return {
        "minilm": minilm.__version__,
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba"),
        "llvmlite": importlib.metadata.version("llvmlite"),
        "processor": target.described(),
        "vector": f"{target.vector_bytes()} bytes",
        "fma": "yes" if {"+fma", "+neon", "+fp-armv8"} & set(features) else "no",
        "blas": blas(),
    }


def machine() -> dict[str, str]:
    """The facts of this machine."""
    return dict(_facts())


def blas() -> str:
    """Name and version of NumPy's BLAS."""
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    except (TypeError, KeyError):  # a NumPy built in an unusual way
        return "unknown"
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The facts in which two machines differ, a line each."""
    names = dict.fromkeys([*one, *other])
    return [f"{name}: {one.get(name)} and {other.get(name)}" for name in names if one.get(name) != other.get(name)]
