"""Which implementation serves an array."""

from __future__ import annotations

import contextlib
import contextvars
import importlib

import numpy as np

from minilm.threads import parallel, parts, set_threads, threads

__all__ = ["IMPLEMENTATIONS", "implementation", "implementation_for", "load", "parallel", "parts", "set_threads", "threads"]

IMPLEMENTATIONS = ("oracle", "cpu")  # "gpu" joins them with the CUDA kernels

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("minilm_implementation", default=None)


@contextlib.contextmanager
def implementation(name: str):
    """Force one implementation of every op inside a ``with`` block.

    Parameters
    ----------
    name : {"oracle", "cpu"}
        ``"oracle"`` is plain NumPy, the text a person reads; ``"cpu"`` is Numba.

    Raises
    ------
    ValueError
        If there is no implementation of that name.

    Notes
    -----
    Outside such a block the array's type chooses: NumPy arrays are served by ``"cpu"``. There is no silent fall back
    from one implementation to another. The choice belongs to the running thread (a context variable).
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"implementation must be one of {', '.join(IMPLEMENTATIONS)}, got {name!r}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def implementation_for(array) -> str:
    """Name of the implementation that serves `array`: the forced one, or the one of its device."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"an op wants numpy arrays, got {type(array).__name__}")
    return _forced.get() or "cpu"


def load(package: str, name: str):
    """The module of one implementation, e.g. ``load("minilm.ops.lstm", "cpu")``; imported at its first use."""
    return importlib.import_module(f"{package}.{name}")
