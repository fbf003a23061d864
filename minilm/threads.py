"""The threads that kernels run on.

The kernels release the GIL and run on Python threads of our own. Numba's parallel=True is not used: its OpenMP layer
spins against OpenBLAS's threads, its workqueue layer aborts the process when two Python threads call at once, and the
choice of a layer would be forced on every other Numba program in the process.

To wake a sleeping thread takes about 40 µs, as long as a small kernel runs, and a training step runs dozens. So whoever waits,
a thread for its next task or a caller for the others' last rows, first looks at a counter for a while, without the GIL, and
only then sleeps (`minilm.ops.spin`). The while is 0.4 ms: in a virtual machine, threads that sleep between all kernels look idle
to the host, which was seen to run two processors of ours on one of its own for 40 ms. It is not longer: OpenBLAS's idle threads
look for tens of milliseconds, and whatever runs beside them crawls.
"""

from __future__ import annotations

import functools
import os
import queue
import threading

import numpy as np

GRACE = 30  # looks that the other side needs to let go of the GIL: who asks too early sleeps after all

_inside_worker = threading.local()
_lock = threading.Lock()
_tasks: queue.SimpleQueue = queue.SimpleQueue()
_posted = np.zeros(1, np.int64)  # counts up with every call that posts tasks
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


@functools.cache
def _watch():
    """The compiled ``watch(counter, value, grace)``: waits until counter[0] >= value and `grace` looks more, or LOOKS in vain."""
    from minilm.ops import spin  # not above: importing minilm compiles nothing

    return spin.watch


def _work(watch):
    _inside_worker.flag = True
    while True:
        if _tasks.empty():
            watch(_posted, int(_posted[0]) + 1, GRACE)
        kernel, start, stop, arguments, done, finished = _tasks.get()
        try:
            kernel(start, stop, *arguments)
            done.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            done.put(error)
        finished[0] += 1
        del kernel, arguments, done, finished  # an idle worker must not keep arrays alive


def _forget_workers():
    """In a forked child the parent's threads do not exist."""
    global _workers, _tasks, _lock
    _workers, _tasks, _lock = 0, queue.SimpleQueue(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


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
    parts = min(threads(), count // max(1, grain))
    if parts <= 1 or getattr(_inside_worker, "flag", False):
        kernel(0, count, *arguments)
        return
    if _workers < parts - 1:
        with _lock:
            while _workers < parts - 1:
                threading.Thread(target=_work, args=[_watch()], name=f"minilm-{_workers + 1}", daemon=True).start()
                _workers += 1
    done: queue.SimpleQueue = queue.SimpleQueue()
    finished = np.zeros(1, np.int64)
    for part in range(1, parts):
        _tasks.put((kernel, part * count // parts, (part + 1) * count // parts, arguments, done, finished))
    _posted[0] += 1
    error = None
    try:
        kernel(0, count // parts, *arguments)
        _watch()(finished, parts - 1, GRACE)
    finally:
        for _ in range(1, parts):  # also after an error here: no thread may still write into the caller's arrays
            error = done.get() or error
    if error is not None:
        raise error
