"""Peak memory of a training step: `benchmarks.memory` in fresh processes, and how they stand to each other."""

from __future__ import annotations

import functools

from benchmarks import memory
from benchmarks.case import Case, Unavailable
from benchmarks.peers import Peers
from benchmarks.timing import Contestant

ROUNDS = 3  # fresh processes of each library, of which the median counts


def cases(quick: bool = False) -> list[Case]:
    """One a subject; the target is to need no more than PyTorch."""
    return [
        Case(
            name=f"memory {subject} step {' '.join(map(str, sizes[0 if quick else 1]))}",
            suite="memory",
            subject=subject,
            build=functools.partial(contestants, subject, quick),
            target=1.0,
            unit="MiB",
            rounds=1 if quick else ROUNDS,
        )
        for subject, sizes in memory.SHAPES.items()
    ]


def contestants(subject: str, quick: bool, peers: Peers) -> list[Contestant]:
    """minilm and PyTorch, each in processes of their own."""
    if not memory.available():
        raise Unavailable("needs Linux with a writable /proc/self/clear_refs")
    libraries = ["minilm", *(["torch"] if peers.get("torch") else [])]
    memory.measure("minilm", subject, quick, peers.threads)  # compiles what is not compiled yet, in a process that does not count
    rounds = 1 if quick else ROUNDS

    def peak(library: str) -> float:
        return max(memory.measure(library, subject, quick, peers.threads) / 2**20, 1e-3)

    return [Contestant(library, lambda: None, sample=functools.partial(peak, library), rounds=rounds) for library in libraries]
