"""Kernels are called in threads that look out for them, that are just going to sleep, and that sleep."""

import time

import numpy as np

from minilm import devices, threads
from minilm.compiled import team
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


def test_turns_take_the_time_that_was_asked_for():
    start = time.perf_counter()
    team.serve(team.board(), team.turns_in(0.02))
    assert 0.001 < time.perf_counter() - start < 10
