"""One global batch on more and more ranks and threads, each in processes of their own: `benchmarks.ranks` as cases of `scaling`.

Beside the time of a step a row has, for each number of ranks and threads, what its slowest rank did with it; and what networks of
two kinds would make of up to 1,024 hosts like this one, by the model of `benchmarks.ranks.modelled`.
"""

from __future__ import annotations

import functools

import numpy as np

from benchmarks import ranks
from benchmarks.case import Case, Unavailable
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import devices

ROUNDS, STEPS = 3, 6
NETWORKS = {"10 Gbit/s": 1.25e9, "200 Gbit/s": 25e9}  # bytes a second
BASE = "1x1"  # ranks x threads that all others stand beside

Layout = tuple[int, int]  # ranks, threads of each


def cases(quick: bool = False) -> list[Case]:
    """The one case: a step of a GPT."""
    sizes = f"B {ranks.ROWS} T {ranks.TIME} V {ranks.MODEL['vocab_size']:,} D {ranks.MODEL['n_embd']} x {ranks.MODEL['n_layer']}"
    return [
        Case(
            name=f"scaling ranks x threads, gpt {sizes}",
            suite="scaling",
            subject="ranks",
            build=functools.partial(contestants, quick),
            tokens=ranks.ROWS * ranks.TIME,
            against=BASE,
            rounds=1 if quick else ROUNDS,
        )
    ]


def layouts(cores: int) -> list[Layout]:
    """Ranks and threads that fill as many cores or fewer, in powers of two; the most ranks first, and one on one thread last."""
    powers = [2**power for power in range(cores.bit_length())]
    pairs = [(R, N) for R in powers for N in powers if R <= ranks.SHARDS and R * N <= cores]
    return sorted(pairs, key=lambda pair: (-pair[0] * pair[1], -pair[0]))


def contestants(quick: bool, peers: Peers) -> list[Contestant]:
    """minilm on as many ranks as there are cores, and on fewer."""
    if ranks.launcher() is None:
        raise Unavailable("there is no mpiexec: pip install 'minilm[mpi]'")
    measured: dict[Layout, list[ranks.Row]] = {pair: [] for pair in layouts(peers.threads or devices.threads())}

    def sample(pair: Layout) -> float:
        measured[pair].append(ranks.measured(*pair, steps=2 if quick else STEPS))
        return measured[pair][-1].step

    every = [Contestant("{}x{}".format(*pair), lambda: None, sample=functools.partial(sample, pair)) for pair in measured]
    own, *others = every
    rounds = 1 if quick else ROUNDS
    for contestant in every:
        contestant.rounds = rounds
    if others:
        own.name = "minilm"
    own.facts = lambda: facts(measured)
    return every


def facts(measured: dict[Layout, list[ranks.Row]]) -> dict[str, dict[str, float]]:
    """What the medians of the rows say, by layout; and the modelled efficiency, by network and ranks."""
    medians = {pair: ranks.Row(*np.median(rows, axis=0).tolist()) for pair, rows in measured.items() if rows}
    base = medians[1, 1]
    numbers = {
        f"{R} ranks x {N} threads": {
            "ms a step": 1e3 * row.step,
            "ms of compute": 1e3 * row.compute,
            "communication waited for, part": row.wait / row.step,
            "sent beside backward, part": row.sent_early,
            "efficiency": base.step / (row.step * R * N),
        }
        for (R, N), row in medians.items()
    }
    for network, bandwidth in NETWORKS.items():
        alone = base.compute / ranks.SHARDS
        powers = (2**power for power in range(1, ranks.MOST.bit_length()))
        numbers[f"modelled, {network}"] = {str(R): alone / ranks.modelled(base, R, bandwidth) for R in powers}
    return {name: {key: float(f"{value:.4g}") for key, value in each.items()} for name, each in numbers.items()}
