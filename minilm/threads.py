"""The threads that kernels run on.

The kernels release the GIL and run on Python threads of our own. Numba's parallel=True is not used: its OpenMP layer
spins against OpenBLAS's threads, its workqueue layer aborts the process when two Python threads call at once, and the
choice of a layer would be forced on every other Numba program in the process.

To wake a sleeping thread takes about 40 µs, as long as a small kernel runs, and a training step runs dozens. So a waiting
thread, be it for its next task or for the others' last rows, first polls a counter for a while, without the GIL, and
only then sleeps (`minilm.compiled.waiting`). The while is 0.4 ms: in a virtual machine, threads that sleep between all kernels
look idle to the host, which was seen to run two of the guest's processors on one of its own for 40 ms. It is not longer:
OpenBLAS's idle threads look for tens of milliseconds, and whatever runs beside them crawls.

A caller that is interrupted (Ctrl-C, a signal's handler that raises) may be so at any line. The arrays are its own again when the
error reaches it, so before that, parts that no thread has begun are given up, and those that run are waited for in compiled code,
where no second signal can cut the waiting short.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minilm import forks

_inside_worker = threading.local()
_lock = threading.Lock()
_team = threading.Lock()  # held while parts run that wait for one another: two halves of two teams would wait for ever
_tasks: queue.SimpleQueue = queue.SimpleQueue()
_workers = 0
_threads: int | None = None


def threads() -> int:
    """Number of threads a kernel is spread over: `set_threads`, else MINILM_THREADS, else the cores this process may use."""
    if _threads is not None:
        return _threads
    setting = os.environ.get("MINILM_THREADS")
    if setting:
        if not setting.isdigit() or int(setting) < 1:
            raise ValueError(f"MINILM_THREADS must be a whole number of at least 1, got {setting!r}")
        return int(setting)
    return _cores()


def _cores() -> int:
    """Cores that this process may use."""
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


# Threads that have just worked wait awake for this long: in a training step the next kernel comes sooner than that.
AWAKE = 400e-6  # seconds
# A thread that is called waits this much longer, until the caller's kernel has let go of the interpreter; and the other way.
AFTER_CALL, AFTER_END = 6e-6, 3e-6
_called, _ended = np.zeros(8, np.int64), np.zeros(8, np.int64)  # counters: a cache line each, of which the first number counts
# Of each call's parts: whether one is not begun (0), running or done; number 0 is the caller's, and there stands ABANDONED or 0.
RUNNING, DONE, ABANDONED = 1, 2, 3
_waiting = _until_none_runs = None
_awake = 0  # threads that may wait awake at once: the cores there were when the last thread was started


def _wait(counter, seen: int, after: float) -> bool:
    """Wait awake until the counter moves; False if it did not, or where there are more threads than cores to be awake on."""
    if _workers >= _awake:
        return False
    return _waiting(counter, seen, AWAKE, after)


def _start_workers(number: int) -> None:
    """Start threads until there are so many."""
    global _workers, _awake, _waiting, _until_none_runs
    with _lock:
        if _waiting is None:
            with forks.importing:
                from minilm.compiled import waiting

            _waiting, _until_none_runs = waiting.Waiting(), waiting.until_none_runs
        while _workers < number:
            threading.Thread(target=_work, name=f"minilm-{_workers + 1}", daemon=True).start()
            _workers += 1
        _awake = _cores()


def _take(results: queue.SimpleQueue, counter, after: float):
    """The next thing from a queue whose every filling moves the counter."""
    while True:
        seen = int(counter[0])
        try:
            return results.get_nowait()
        except queue.Empty:
            if not _wait(counter, seen, after):
                return results.get()


def _work():
    _inside_worker.flag = True
    while True:
        kernel, start, stop, arguments, states, part, done = _take(_tasks, _called, AFTER_CALL)
        states[part] = RUNNING  # first, and then the look: a caller that gives up sees the one, or its giving up is seen
        error = None
        try:
            if states[0] != ABANDONED:
                kernel(start, stop, *arguments)
        except BaseException as raised:  # handed to the caller's thread, which raises it
            error = raised
        states[part] = DONE
        done.put(error)
        _ended[0] += 1
        del kernel, arguments, states, done, error  # an idle worker must not keep arrays alive


def _forget_workers():
    """In a forked child the parent's threads do not exist."""
    global _workers, _tasks, _lock, _team
    _workers, _tasks, _lock, _team = 0, queue.SimpleQueue(), threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def parts(count: int, grain: int = 1) -> int:
    """Number of parts that `parallel` cuts ``range(count)`` into: part number p is [p count // parts, (p + 1) count // parts)."""
    grains = count // max(1, grain)
    return 1 if grains < 2 or getattr(_inside_worker, "flag", False) else min(threads(), grains)


def parallel(kernel: Callable, count: int, *arguments: Any, grain: int = 1) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ``range(count)``, cut into one contiguous part a thread.

    Parameters
    ----------
    kernel : callable
        A compiled function that releases the GIL. Each row it computes must not depend on where the cuts fall.
    count : int
        Number of rows.
    grain : int
        Rows that are worth a thread; with fewer than two grains the caller's thread does it all. Calling a thread costs
        some 10 µs where the last kernel ended within 0.4 ms, else 20 to 50.
    """
    number = 1 if count < 2 * grain else parts(count, grain)
    if number == 1:
        kernel(0, count, *arguments)
        return
    cuts = [(part * count // number, (part + 1) * count // number) for part in range(number)]
    _run(kernel, cuts, arguments, np.zeros(number, np.int64))


def together(kernel: Callable, *arguments: Any) -> None:
    """Run ``kernel(part, number, states, *arguments)`` as parts 0 ... number - 1 of a team that runs at the same time.

    The parts may wait for one another (`minilm.compiled.waiting.meet`, which takes ``states``), so a step of many small kernels
    can be one call. There are no more of them than cores, and one team at a time.

    Parameters
    ----------
    kernel : callable
        A compiled function that releases the GIL and raises nothing: the other parts would wait for it.
    """
    number = min(parts(threads()), _cores())
    states = np.zeros(number, np.int64)
    if number == 1:
        kernel(0, 1, states, *arguments)
        return
    with _team:
        _run(kernel, [(part, number) for part in range(number)], (states, *arguments), states)


def _run(kernel, cuts, arguments, states):
    """The kernel once for each of the cuts, the first on the caller's thread."""
    number = len(cuts)
    if _workers < number - 1:
        _start_workers(number - 1)
    done: queue.SimpleQueue = queue.SimpleQueue()
    error = None
    try:
        for part in range(1, number):
            _tasks.put((kernel, *cuts[part], arguments, states, part, done))
        _called[0] += 1
        try:
            kernel(*cuts[0], *arguments)
        except Exception as raised:  # as one of another part: raised when all have ended
            error = raised
        for _ in range(1, number):
            error = _take(done, _ended, AFTER_END) or error
    except BaseException:  # an interrupt; these two lines run no function of Python's, in which the next one could come
        states[0] = ABANDONED
        _until_none_runs(states)
        raise
    if error is not None:
        raise error
