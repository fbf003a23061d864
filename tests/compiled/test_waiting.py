"""Kernels are called in threads that look out for them, that are just going to sleep, and that sleep."""

import time

import numpy as np

from minilm import devices, threads
from minilm.compiled import waiting
from minilm.compiled.jit import jit


@jit
def _count(start, stop, done):
    done[start:stop] += 1


def test_parallel_after_every_pause():
    devices.set_threads(2)
    for pause in np.linspace(0, 3 * threads.AWAKE, 60):
        done = np.zeros(2, np.int64)
        devices.parallel(_count, 2, done)
        assert (done == 1).all()
        time.sleep(pause)


def test_turns_of_a_loop_take_the_time_that_was_asked_for():
    counter, start = np.zeros(1, np.int64), time.perf_counter()
    waiting._turns(counter, waiting.turns_in(0.02))
    assert 0.001 < time.perf_counter() - start < 10


def test_a_counter_that_moves_ends_the_loop():
    start = time.perf_counter()
    waiting._turns(np.ones(1, np.int64), waiting.turns_in(60.0))
    assert time.perf_counter() - start < 30
