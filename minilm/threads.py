"""The threads that kernels run on.

The kernels release the GIL and run on threads of our own. Numba's parallel=True is not used: its OpenMP layer
spins against OpenBLAS's threads, its workqueue layer aborts the process when two Python threads call at once, and the
choice of a layer would be forced on every other Numba program in the process.

A kernel is handed to the threads in compiled code, without the interpreter (`minilm.compiled.team`). To wake a sleeping thread
takes about 40 µs, as long as a small kernel runs, and a training step runs dozens. So a thread that has just worked looks out for
its next task for a while before it sleeps. The while is 0.4 ms: in a virtual machine, threads that sleep between all kernels look
idle to the host, which was seen to run two of the guest's processors on one of its own for 40 ms. It is not longer: OpenBLAS's
idle threads look for tens of milliseconds, and whatever runs beside them crawls.

The caller takes parts as the threads do. So where a thread has no core to run on just then, its part is the caller's: on a
machine that is busy with other programs a kernel takes little longer than on one thread.

A caller that is interrupted (Ctrl-C, a signal's handler that raises) learns of it when the kernel has ended in all threads: the
arrays are its own again then.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minilm import forks

_lock = threading.RLock()  # a signal's handler that calls a kernel may find it held by its own thread; so with `_teams`
_workers = 0
_threads: int | None = None
FRESH = 0.01  # seconds for which what the environment and the system say of the threads is not asked again
_last_answer, _fresh_until = 1, 0.0  # what they said, and until when it holds


def threads() -> int:
    """Number of threads a kernel is spread over: `set_threads`, else MINILM_THREADS, else the cores this process may use.

    Raises
    ------
    ValueError
        If MINILM_THREADS is set to anything else than a whole number of at least 1.
    """
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


def threads_lately() -> int:
    """`threads` for what is asked at every call of a kernel: the environment and the system are asked again after FRESH.

    They were asked 240 times in a training step of a small GPT, which was a hundredth of it.
    """
    global _last_answer, _fresh_until
    if _threads is not None:
        return _threads
    now = time.monotonic()
    if now >= _fresh_until:
        _last_answer, _fresh_until = threads(), now + FRESH
    return _last_answer


def set_threads(number: int | None) -> None:
    """Set the number of threads a kernel is spread over; None returns to the default.

    Results do not depend on it, bit for bit, as far as the kernels here are concerned; NumPy's matrix products have
    threads of their own, which this does not change.

    Raises
    ------
    ValueError
        If `number` is no whole number of at least 1.
    """
    global _threads, _fresh_until
    if number is not None and (not isinstance(number, (int, np.integer)) or number < 1):
        raise ValueError(f"number of threads must be a whole number of at least 1, got {number!r}")
    _threads, _fresh_until = None if number is None else int(number), 0.0


# Threads that have just worked look out for this long: in a training step the next kernel comes sooner than that.
AWAKE = 400e-6  # seconds
_team: Any = None  # `minilm.compiled.team`, imported with the first kernel that is shared out
_board: Any = None  # where it is put up
_addresses: dict[Callable, np.ndarray] = {}  # of a kernel: a row of `team.address` for each kind of arguments
_NONE = np.zeros((0, 2), np.int64)  # of a kernel that was never called
_turns = 0  # of the loop that looks out for AWAKE
_awake = 0  # threads that may be awake at once: the cores there were when the last thread was started
_asleep: list[queue.SimpleQueue] = []  # what wakes each thread that sleeps
_needed = False  # whether there is a call that all threads must be awake for
_teams = threading.RLock()  # one such call at a time


def _start_workers(number: int) -> None:
    """Start threads until there are so many."""
    global _workers, _awake, _team, _board, _turns
    with _lock:
        if _board is None:
            with forks.importing:
                from minilm.compiled import team

            _turns = team.turns_in(AWAKE)
            _team, _board = team, team.board()
        while _workers < number:
            _start_worker()
        _awake = _cores()


def _start_worker() -> None:
    global _workers
    _workers += 1  # first: a signal's handler that calls a kernel in the middle of `start` needs no other
    try:
        threading.Thread(target=_work, args=(_board,), name=f"minilm-{_workers}", daemon=True).start()
    except (
        BaseException
    ) as error:  # perhaps it runs all the same: one too many does no harm, and for one too few a team would wait
        _workers -= 1
        if not isinstance(error, RuntimeError):
            raise
        raise OSError(
            f"the system starts no thread beside the {_workers + 1} there are: wanted {threads()}, MINILM_THREADS says how many"
        ) from None


def _work(board):
    bell: queue.SimpleQueue = queue.SimpleQueue()
    while True:
        _team.serve(board, _turns if _workers < _awake else 0)
        _asleep.append(bell)  # first, and then the look: who needs this thread finds it asleep, or this thread finds it is needed
        if not _needed:
            bell.get()
        _asleep.remove(bell)  # here and not where it is rung: an interrupt there would lose a thread for ever
        while not bell.empty():
            bell.get()


def _wake() -> None:
    for bell in tuple(_asleep):
        bell.put(None)


def _forget_workers():
    """In a forked child the parent's threads do not exist."""
    global _workers, _lock, _teams, _board, _needed, _fresh_until
    _workers, _lock, _teams, _board, _needed, _fresh_until = 0, threading.RLock(), threading.RLock(), None, False, 0.0
    _asleep.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def parts(count: int, grain: int = 1) -> int:
    """Number of parts that `parallel` cuts ``range(count)`` into: part number p is [p count // parts, (p + 1) count // parts)."""
    grains = count // max(1, grain)
    return 1 if grains < 2 else min(threads_lately(), grains)


def parallel(kernel: Callable, count: int, *arguments: Any, grain: int = 1, number: int | None = None) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ``range(count)``, cut into one contiguous part a thread.

    Parameters
    ----------
    kernel : callable
        Compiled by `minilm.compiled.jit`, returning nothing. Each row it computes must not depend on where the cuts fall.
    count : int
        Number of rows.
    grain : int
        Rows that are worth a thread; with fewer than two grains the caller's thread does it all. Calling a thread costs
        some 2 µs where the last kernel ended within 0.4 ms, else 20 to 50, in which the caller goes on.
    number : int, optional
        What `parts` gave, where the caller has made room for so many: another thread may have called `set_threads` since.

    Notes
    -----
    While another caller's kernel is in the threads, the caller runs its own alone.
    """
    if number is None:
        number = 1 if count < 2 * grain else parts(count, grain)
    if number == 1 or not _share(kernel, number, count, arguments):
        kernel(0, count, *arguments)


def together(kernel: Callable, *arguments: Any) -> None:
    """Run ``kernel(part, number, *arguments)`` as parts 0 ... number - 1 of a team that runs at the same time.

    The parts may wait for one another (`minilm.compiled.waiting.meet`), so a step of many small kernels can be one call.
    There are no more of them than cores, and one team at a time.

    Parameters
    ----------
    kernel : callable
        Compiled by `minilm.compiled.jit`, returning nothing and raising nothing: the other parts would wait for it.
    """
    global _needed
    number = min(parts(threads()), _cores())
    if number == 1:
        kernel(0, 1, *arguments)
        return
    with _teams:
        before = _needed  # True in a signal's handler that runs in the middle of a call
        try:
            _needed = True
            while not _share(kernel, number, -1, arguments):
                time.sleep(1e-4)  # another caller's kernel is in the threads
        finally:
            _needed = before


def _share(kernel, number, count, arguments) -> bool:
    """Run the kernel in so many parts; False if that could not be done, or if a part raised an error."""
    if _workers < number - 1 or _board is None:
        _start_workers(number - 1)
    if _asleep:
        _wake()
    known = _addresses.get(kernel, _NONE)
    result = _team.share(_board, known, number, count, *arguments)
    if result == _team.UNKNOWN:
        _addresses[kernel] = np.vstack([known, _team.address(kernel, arguments)])
        return _share(kernel, number, count, arguments)
    return result == _team.ENDED_WELL
