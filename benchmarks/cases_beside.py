"""Does it cost anything to import PyTorch beside minilm? Training steps of each library alone, and beside the other.

Both bring threads of their own, and two pools that spin against each other can be many times slower than one alone. Every
measurement has a fresh process; "beside" means that the other library was imported and took a step of its own before.
"""

from __future__ import annotations

import functools
import json
import sys
import time

import numpy as np

from benchmarks.case import Case, Unavailable
from benchmarks.fresh import measured
from benchmarks.peers import Peers
from benchmarks.timing import Contestant

LIBRARIES = ("minilm", "torch")
SHAPES = {"LSTM": ((2, 3, 4, 4), (32, 64, 256, 256)), "GRU": ((2, 3, 4, 4), (32, 64, 256, 256))}  # (B, T, D, H)
SECONDS = 2.0
ALLOWED = 0.9  # of the speed alone: two runs of the same thing differ by as much on a shared machine


def cases(quick: bool = False) -> list[Case]:
    """Each library's step beside the other, held against the same alone."""
    return [
        Case(
            name=f"beside {subject}, {library} beside the other",
            suite="beside",
            subject=subject,
            build=functools.partial(contestants, subject, library, quick),
            target=ALLOWED,
            against="alone",
            rounds=1 if quick else 5,
        )
        for subject in SHAPES
        for library in LIBRARIES
    ]


def contestants(subject: str, library: str, quick: bool, peers: Peers) -> list[Contestant]:
    """The library beside the other, and alone."""
    if peers.get("torch") is None:
        raise Unavailable("needs PyTorch")

    def seconds(beside: bool) -> float:
        return measured("benchmarks.cases_beside", library, subject, beside, quick, peers.threads)

    rounds = 1 if quick else 5
    return [
        Contestant(name, lambda: None, sample=functools.partial(seconds, beside), rounds=rounds)
        for name, beside in ((library, True), ("alone", False))
    ]


def child(library: str, subject: str, beside: bool, quick: bool, threads: int | None) -> float:
    """Median seconds of a step in this process."""
    from benchmarks.memory import maker

    tiny, full = SHAPES[subject]
    if beside:
        maker(next(other for other in LIBRARIES if other != library), subject, tiny, quick, threads)()()
    step = maker(library, subject, tiny if quick else full, quick, threads)()
    times, end = [], time.perf_counter() + (0.05 if quick else SECONDS)
    while time.perf_counter() < end or len(times) < 4:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return float(np.median(times[len(times) // 3 :]))  # the first third warms up


if __name__ == "__main__":
    print(child(*json.loads(sys.argv[1])))
