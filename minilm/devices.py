"""Which implementation serves an array, and the threads its kernels run on."""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import os
import queue
import threading

import numpy as np

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


# --- threads ---------------------------------------------------------------------------------------------------------
# The kernels release the GIL and run on Python threads of our own. Numba's parallel=True is not used: its OpenMP layer
# spins against OpenBLAS's threads, its workqueue layer aborts the process when two Python threads call at once, and the
# choice of a layer would be forced on every other Numba program in the process.

_inside_worker = threading.local()
_lock = threading.Lock()
_tasks: queue.SimpleQueue = queue.SimpleQueue()
_workers = 0
_threads: int | None = None


def threads() -> int:
    """Number of threads a kernel is spread over: `set_threads`, else MINILM_THREADS, else the cores this process may use."""
    if _threads is not None:
        return _threads
    wanted = os.environ.get("MINILM_THREADS")
    if wanted:
        if not wanted.isdigit() or int(wanted) < 1:
            raise ValueError(f"MINILM_THREADS must be a whole number of at least 1, got {wanted!r}")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(number: int | None) -> None:
    """Set the number of threads a kernel is spread over; None returns to the default.

    Results do not depend on it, bit for bit, as far as the kernels here are concerned; NumPy's matrix products have
    threads of their own, which this does not change.
    """
    global _threads
    if number is not None and (not isinstance(number, (int, np.integer)) or number < 1):
        raise ValueError(f"number of threads must be a whole number of at least 1, got {number!r}")
    _threads = None if number is None else int(number)


def _work():
    _inside_worker.flag = True
    while True:
        kernel, start, stop, arguments, done = _tasks.get()
        try:
            kernel(start, stop, *arguments)
            done.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            done.put(error)
        del kernel, arguments, done  # an idle worker must not keep arrays alive


def _forget_workers():
    """In a forked child the parent's threads do not exist."""
    global _workers, _tasks, _lock
    _workers, _tasks, _lock = 0, queue.SimpleQueue(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def parts(count: int, grain: int = 1) -> int:
    """Number of parts that `parallel` cuts ``range(count)`` into: part number p is [p count // parts, (p + 1) count // parts)."""
    return 1 if getattr(_inside_worker, "flag", False) else max(1, min(threads(), count // max(1, grain)))


def parallel(kernel, count: int, *arguments, grain: int = 1) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ``range(count)``, cut into one contiguous part a thread.

    Parameters
    ----------
    kernel : callable
        A compiled function that releases the GIL. Each row it computes must not depend on where the cuts fall.
    count : int
        Number of rows.
    grain : int
        Rows that are worth a thread; with fewer than two grains the caller's thread does it all. Waking a thread
        costs about 20 µs.
    """
    global _workers
    number = parts(count, grain)
    if number == 1:
        kernel(0, count, *arguments)
        return
    if _workers < number - 1:
        with _lock:
            while _workers < number - 1:
                threading.Thread(target=_work, name=f"minilm-{_workers + 1}", daemon=True).start()
                _workers += 1
    done: queue.SimpleQueue = queue.SimpleQueue()
    for part in range(1, number):
        _tasks.put((kernel, part * count // number, (part + 1) * count // number, arguments, done))
    error = None
    try:
        kernel(0, count // number, *arguments)
    finally:
        for _ in range(1, number):  # also after an error here: no thread may still write into the caller's arrays
            error = done.get() or error
    if error is not None:
        raise error
