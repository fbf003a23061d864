"""Which share of the memory's read bandwidth writing with a model reaches, where that bandwidth changes by the minute.

A token reads every weight once, so the least time of a token is that of reading its bytes. The hosts of virtual machines share
their memory's bus: here it swung from 22 to 66 GB/s within minutes. So each repetition has its own bandwidth, from reading arrays
of the same size right before and right after it, and its own share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.roofs import read
from benchmarks.timing import Contestant
from minilm import devices

LEAST = 0.02  # seconds that are read for before and after a repetition
RIVAL = "read bandwidth"


class Bandwidth:
    """Reads arrays of `size` bytes in all, a part on each thread."""

    def __init__(self, size: int, threads: int):
        self._parts = [devices.aligned_zeros(max(size // 4 // threads, 64), "float32") for _ in range(threads)]
        for part in self._parts:
            part[:] = 1  # claims its pages
        self._bytes = sum(part.nbytes for part in self._parts)
        self._pool = ThreadPoolExecutor(threads)
        self._passes = 1
        self._passes = max(1, round(LEAST * min(self() for _ in range(3)) / self._bytes))

    def __call__(self) -> float:
        """Bytes a second, now."""
        start = time.perf_counter()
        list(self._pool.map(read, self._parts, [self._passes] * len(self._parts)))
        return self._passes * self._bytes / (time.perf_counter() - start)


def contestants(run: Callable[[], object], tokens: int, size: int, threads: int) -> list[Contestant]:
    """minilm, and reading alone: the ratio of a round is the share of the bandwidth that minilm reaches.

    Parameters
    ----------
    run : callable
        Writes `tokens` tokens, each of which reads `size` bytes of weights.
    """
    run()  # compiles
    bandwidth, reading = Bandwidth(size, threads), []

    def repetition() -> float:
        before, start = bandwidth(), time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        reading.append(tokens * size / ((before + bandwidth()) / 2))
        return seconds

    def facts():
        rates = sorted(tokens * size / seconds / 1e9 for seconds in reading)
        return {"GB/s of reading": {"least": rates[0], "median": rates[len(rates) // 2], "most": rates[-1]}}

    return [Contestant("minilm", run, sample=repetition, facts=facts), Contestant(RIVAL, run, sample=lambda: reading[-1])]
