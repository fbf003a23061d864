"""Waiting awake: it ends when the counter moves, gives up in time, and lets other threads run meanwhile."""

import threading
import time

import numpy as np
import pytest

from minilm import devices, threads
from minilm.compiled.waiting import Waiting


@pytest.fixture(scope="module")
def wait():
    return Waiting()


def test_a_counter_that_has_moved_ends_it_at_once(wait):
    assert wait(np.array([5]), 4, 60.0, 0.0)


def test_it_gives_up(wait):
    start = time.perf_counter()
    assert not wait(np.array([5]), 5, 0.02, 0.0)
    assert 0.002 < time.perf_counter() - start < 30  # and not the minute for which others wait


def test_it_waits_a_little_longer_after_the_call(wait):
    start = time.perf_counter()
    assert wait(np.array([5]), 4, 60.0, 0.02)
    assert time.perf_counter() - start > 0.002


def test_another_thread_runs_and_moves_the_counter(wait):
    """It holds no lock of the interpreter, else the other thread could not run, and reads memory, not a register's copy."""
    counter = np.array([5])

    def move():
        counter[0] += 1

    timer = threading.Timer(0.05, move)
    timer.start()
    assert wait(counter, 5, 60.0, 0.0)
    timer.join()


def test_parallel_after_every_pause():
    """A thread is called while it waits awake, just as it gives up, and when it sleeps."""
    devices.set_threads(2)
    try:
        for pause in np.linspace(0, 3 * threads.AWAKE, 60):
            done = np.zeros(2, np.int64)

            def kernel(start, stop, done):
                done[start:stop] += 1

            devices.parallel(kernel, 2, done)
            assert (done == 1).all()
            time.sleep(pause)
    finally:
        devices.set_threads(None)
