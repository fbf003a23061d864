"""Timing contestants side by side.

A shared machine's speed drifts by the second, so two libraries timed one after the other cannot be compared. Here the
contestants of a case take turns in rounds, A B C A B C ..., and a ratio is taken within a round; what is reported is the
median of those ratios with its quartiles.

Taking turns has a trap of its own: thread pools. An idle thread of OpenBLAS or libgomp keeps its core busy for tens of
milliseconds before it sleeps, and a call of the *next* contestant within that time was seen to run up to eight times
slower (PyTorch after NumPy, two cores). So before every turn there is a pause, then a call or more that are not timed. After a
pause the host of a virtual machine was seen to run both its processors on one of its own for 40 ms, and whatever waits
asleep between kernels ran at half its speed: the calls that are not timed last longer than that.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SETTLE = 0.1  # seconds of pause before a turn: twice what idle BLAS threads were seen to spin
WARM = 0.06  # seconds of calls that are not timed, at least one call: see above
BLOCK = 0.05  # seconds of calls that make one sample, at least one call


@dataclass
class Contestant:
    """One of those who compute the same thing.

    Attributes
    ----------
    name : str
        "minilm", "oracle" or the peer's name.
    run : callable
        Does the whole work once. Called many times.
    arrays : callable
        Takes what `run` returned and gives the NumPy arrays to compare before timing, in an order all contestants
        share; None where there is nothing to compare (random masks differ between libraries).
    rounds : int or None
        Most rounds it takes part in; None is all of them.
    around : callable
        Gives the context in which its turn is: another number of threads, another implementation.
    sample : callable or None
        What a turn is instead of timed calls of `run`: it measures by itself (in a process of its own, by a GPU's clock, or
        something else than time) and returns the number, of which less is better.
    tolerance : float or None
        Largest difference of its arrays from the others', relative to their scale; None is that of float32.
    facts : callable or None
        What else the samples showed, called when all are taken: numbers by name, for each thing that they are about.
    """

    name: str
    run: Callable[[], Any]
    arrays: Callable[[Any], list] | None = None
    rounds: int | None = None
    around: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    sample: Callable[[], float] | None = None
    tolerance: float | None = None
    facts: Callable[[], dict[str, dict[str, float]]] | None = None
    seconds: list[float] = field(default_factory=list)  # a call, one value a round (or what `sample` gives)


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values) -> Spread:
    """Median and quartiles of one or more numbers."""
    values = sorted(values)
    if not values:
        raise ValueError("no values to summarise")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def speed_ratio(one: Contestant, other: Contestant) -> Spread:
    """How many times as fast as `other` is `one`, round by round: above 1, `one` is faster."""
    return spread([b / a for a, b in zip(one.seconds, other.seconds, strict=False)])


def _turn(contestant: Contestant, estimate: float, pause: float, block: float) -> float:
    """Seconds a call takes, from one block of calls."""
    if contestant.sample is not None:
        return contestant.sample()
    time.sleep(pause)
    with contestant.around():
        for _ in range(max(1, round(min(WARM, block) / estimate))):
            contestant.run()
        calls = max(1, round(block / estimate))
        start = time.perf_counter()
        for _ in range(calls):
            contestant.run()
        return (time.perf_counter() - start) / calls


def _estimate(contestant: Contestant) -> float:
    """Seconds of one call, roughly."""
    if contestant.sample is not None:
        return 1e-7  # rounds are limited where it is made
    with contestant.around():
        start = time.perf_counter()
        contestant.run()
        return max(time.perf_counter() - start, 1e-7)


def interleave(contestants: list[Contestant], *, seconds: float, least: int = 5, most: int = 40, quick: bool = False) -> None:
    """Let the contestants take turns until `seconds` are spent, in at least `least` rounds; fills their `.seconds`.

    A contestant so slow that a turn of it would eat the time of the others (the oracle at large sizes) sits out after
    three rounds. Every contestant must have run once before, so that nothing compiles in here.
    """
    pause, block = (0.0, 0.0) if quick else (SETTLE, BLOCK)
    estimates = [_estimate(contestant) for contestant in contestants]
    for contestant, estimate in zip(contestants, estimates, strict=True):
        contestant.seconds = []
        if contestant.rounds is None and estimate > seconds / 10:
            contestant.rounds = 3
        elif contestant.rounds is not None and contestant.sample is None and estimate > seconds / 5:
            contestant.rounds = 1
    if all(contestant.rounds is not None for contestant in contestants):
        for contestant in contestants:
            contestant.rounds = max(contestant.rounds, least) if contestant.sample is None else contestant.rounds
    collecting = gc.isenabled()
    gc.disable()
    try:
        begun = time.perf_counter()
        for round_number in range(most):
            if round_number >= least and time.perf_counter() - begun > seconds:
                break
            for index, contestant in enumerate(contestants):
                if contestant.rounds is None or round_number < contestant.rounds:
                    contestant.seconds.append(_turn(contestant, estimates[index], pause, block))
                    estimates[index] = max(min(contestant.seconds), 1e-7) if contestant.sample is None else 1e-7
            if not quick:
                gc.collect()
    finally:
        if collecting:
            gc.enable()
