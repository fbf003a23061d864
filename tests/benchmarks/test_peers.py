"""Peers stand beside minilm as well as they can run."""

import itertools
import time

from benchmarks import peers


def test_an_engine_stands_with_the_threads_that_serve_it_best():
    """Of two engines the one whose calls take less time, by medians: one slow call decides nothing."""
    pauses = {1: [0.0, 0.0, 0.05, 0.001, 0.001], 2: [0.0, 0.0, 0.01, 0.01, 0.01]}

    def build(number):
        waits = itertools.cycle(pauses[number])

        def run():
            time.sleep(next(waits))
            return number

        return run

    assert peers.quickest(build, 2, calls=3)() == 1 and peers.quickest(build, 1, calls=3)() == 1
    pauses[1] = [0.05] * 3
    assert peers.quickest(build, 2, calls=3)() == 2
