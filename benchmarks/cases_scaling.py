"""The same work on one thread, two, and so on: how many times as fast as on one.

minilm's own row is on all threads; its contestants are itself and PyTorch on fewer. The picture of ``--plot`` draws a line for
each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

from benchmarks import cases_models, cases_ops, cases_ranks, cases_transformers
from benchmarks.case import Case
from benchmarks.peers import Peers, torch_threads
from benchmarks.timing import Contestant
from minilm import devices

NAMES = (  # of cases of other suites
    "linear N 256 I 768 O 3,072",
    "linear N 1,024 I 384 O 1,536",
    "linear N 1,024 I 1,024 O 1,024",
    "cross_entropy N 1,024 V 10,000",
    "adam N 10,000,000",
    "LSTM layer B 32 T 64 D 256 H 256",
    "gpt B 4 T 256 V 65 D 384 x 6",
)


def cases(quick: bool = False) -> list[Case]:
    """Some cases of the other suites, each on every number of threads that is a power of two, and on all; ranks by threads."""
    known = {case.name: case for module in (cases_ops, cases_models, cases_transformers) for case in module.cases(quick)}
    chosen = [known[name] for name in NAMES if name in known] if not quick else list(known.values())[:2]
    by_threads = [
        dataclasses.replace(
            case,
            name=f"scaling {case.name}",
            suite="scaling",
            build=functools.partial(contestants, case),
            target=None,
            against="minilm-1",
        )
        for case in chosen
    ]
    return by_threads + cases_ranks.cases(quick)


def numbers(most: int) -> list[int]:
    """1, 2, 4, ..., and the most."""
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def contestants(case: Case, peers: Peers) -> list[Contestant]:
    """minilm on all threads, then on fewer; PyTorch likewise."""
    built = {contestant.name: contestant for contestant in case.build(peers)}
    most = peers.threads or devices.threads()
    own, torch = built["minilm"], built.get("torch")
    all_contestants = [dataclasses.replace(own, around=functools.partial(kernels, most), rounds=None)]
    for number in numbers(most)[:-1]:
        all_contestants.append(Contestant(f"minilm-{number}", own.run, around=functools.partial(kernels, number)))
    if torch is not None:
        module = peers.get("torch")
        for number in numbers(most):
            around = functools.partial(torch_threads, module, number)
            all_contestants.append(Contestant(f"torch-{number}-threads", torch.run, around=around))
    return all_contestants


@contextlib.contextmanager
def kernels(number: int) -> Iterator[None]:
    """minilm's kernels on a number of threads."""
    before = devices.threads()
    devices.set_threads(number)
    try:
        yield
    finally:
        devices.set_threads(before)
