"""Peers stand beside minilm as well as they can run."""

import itertools
import time

from benchmarks import peer_ops


def test_an_engine_stands_with_the_threads_that_serve_it_best():
    """Of two engines the one whose calls take less time: one slow call decides nothing."""
    pauses = {1: [0.0, 0.05, 0.001, 0.001, 0.001, 0.001], 2: [0.0, 0.01, 0.01, 0.01, 0.01, 0.01]}

    def build(number):
        waits = itertools.cycle(pauses[number])

        def run():
            time.sleep(next(waits))
            return number

        return run

    assert peer_ops.quickest([build(1), build(2)])() == 1 and peer_ops.quickest([build(1)])() == 1
    pauses[1] = [0.05]
    assert peer_ops.quickest([build(1), build(2)])() == 2
