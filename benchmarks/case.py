"""One line of the table: how a case is built, checked, timed and judged."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.disturbance import Conditions, Watch
from benchmarks.machine import Machine
from benchmarks.peers import Peers, torch_threads
from benchmarks.timing import Contestant, Spread, interleave, speed_ratio, spread
from minilm import devices

# Largest difference between contestants, relative to the largest absolute value of an array. Rounding in float32 stays
# a factor of ten below it at these sizes; a wrong formula lies orders of magnitude above. The proof is the test suite's.
AGREEMENT = 1e-3
ASIDE = 2  # rounds of contestants that are no rivals: the oracle, plain versions, the peer on one thread


def utc() -> str:
    """The time, in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class WrongResult(Exception):
    """A contestant computed something else than the others."""


class Unavailable(Exception):
    """What a case is about cannot be had on this machine: said in the table, and no fault."""


@dataclass(frozen=True)
class Case:
    """One computation, at one size.

    Attributes
    ----------
    name : str
        What the table says: subject and sizes.
    suite : str
        One of `benchmarks.suites.SUITES`.
    subject : str
        The op, layer or model, by which a user picks it.
    build : callable
        ``build(peers) -> list of Contestant``, minilm first; `peers` is a `benchmarks.peers.Peers`.
    flops, moved : float
        Arithmetic and bytes of one run, for the roofline: what must be done, not what is; 0 where no figure makes sense.
    tokens, text_bytes : float
        That one run reads or writes, for a rate.
    target : float or None
        Least ratio of minilm's speed to that of `against` that the project asks for.
    against : str
        The contestant that the target names, or "roof" for a share of it.
    also : dict of str to float
        Targets against further contestants: name -> least ratio.
    unit : {"s", "MiB"}
        Of what is measured; less is better.
    rounds : int
        Least number of rounds.
    precision : {"float32", "tf32", "bf16", "int8"}
        Of the products, for the roof.
    """

    name: str
    suite: str
    subject: str
    build: Callable[[Peers], list[Contestant]]
    flops: float = 0
    moved: float = 0
    tokens: float = 0
    target: float | None = None
    against: str = "torch"
    unit: str = "s"
    rounds: int = 5
    precision: str = "float32"
    working: float | None = None
    text_bytes: float = 0
    also: dict[str, float] = field(default_factory=dict)


@dataclass
class Result:
    """What a case gave."""

    case: Case
    ratios: dict[str, Spread] = field(default_factory=dict)  # other contestant -> how many times as fast minilm is
    samples: dict[str, list[float]] = field(default_factory=dict)  # contestant -> seconds a run (or the case's unit), by rounds
    roof: Spread | None = None  # share of the machine's roofline that minilm reaches
    bound: str = ""  # which of the roofs it is
    target: float | None = None
    error: str = ""
    dropped: dict[str, str] = field(default_factory=dict)  # peers that raised an error, and the target's if it is missing -> why
    note: str = ""  # why nothing was timed, where that is no error
    conditions: Conditions = field(default_factory=Conditions)
    date: str = field(default_factory=utc)  # when it began
    facts: dict[str, dict[str, float]] = field(default_factory=dict)  # what else the samples showed

    @property
    def own(self) -> list[float]:
        """minilm's samples."""
        return next(iter(self.samples.values()), [])

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target or without the peer."""
        if self.target is not None and self.case.against == "roof" and self.roof is not None:
            return self.roof.median >= self.target
        targets = {name: least for name, least in self.targets.items() if name in self.ratios}
        return all(self.ratios[name].median >= least for name, least in targets.items()) if targets else None

    @property
    def targets(self) -> dict[str, float]:
        """Least ratio by contestant."""
        return {} if self.target is None else {self.case.against: self.target, **self.case.also}

    def hold_against(self, machine: Machine) -> None:
        """Fill in `roof` and `bound`."""
        case = self.case
        if self.own and case.unit == "s" and (case.flops or case.moved):
            least, self.bound = machine.roof(case.flops, case.moved, case.precision, case.working)
            self.roof = spread([least / value for value in self.own])
            if self.bound in ("arithmetic", "cache"):  # the hosts of virtual machines share their memory's bus: no matter here
                self.conditions.leave_out("memory")


def compare(contestants: list[Contestant]) -> dict[str, str]:
    """Run every contestant once and compare what came out with the oracle's (else the first's).

    A peer that raises an error is taken out of the list: it costs its own column, not the row.

    Returns
    -------
    dropped : dict of str to str
        Such peers, and what they said.

    Raises
    ------
    WrongResult
        Naming the contestant, the array and the difference.
    """
    results, dropped = [], {}
    for contestant in list(contestants):
        if contestant.sample is not None and contestant.arrays is None:
            continue  # it runs elsewhere
        try:
            with contestant.around():
                output = contestant.run()  # also where nothing is compared: what compiles, compiles here
                if contestant.arrays is not None:  # copies: what writes in place may run again before the comparison
                    results.append((contestant, [np.array(array) for array in contestant.arrays(output)]))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a peer's Rust is no Exception
            if contestant is contestants[0] or contestant.name in devices.IMPLEMENTATIONS + devices.VERSIONS:
                raise
            dropped[contestant.name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            contestants.remove(contestant)
    if len(results) >= 2:
        exact = [pair for pair in results if pair[0].tolerance is None]  # what is rounded to 8 bits is held against what is not
        trusted = next((pair for pair in exact if pair[0].name == "oracle"), (exact or results)[0])
        for contestant, arrays in results:
            _agree(contestant, arrays, *trusted)
    return dropped


def twice(step: Callable) -> Callable:
    """What is compared of a training step: its loss and norm, and those of the step after, which prove the update."""
    return lambda first: [np.array(number) for number in (*first, *step())]


def _agree(contestant: Contestant, arrays: list, trusted: Contestant, reference: list) -> None:
    """WrongResult if the arrays of a contestant are not the trusted one's."""
    name = contestant.name
    if len(arrays) != len(reference):
        raise WrongResult(f"{name} gave {len(arrays)} arrays, {trusted.name} {len(reference)}")
    for index, (array, expected) in enumerate(zip(arrays, reference, strict=True)):
        array, expected = np.asarray(array, np.float64), np.asarray(expected, np.float64)
        if array.shape != expected.shape:
            raise WrongResult(f"array {index} of {name} has shape {array.shape}, of {trusted.name} {expected.shape}")
        if expected.size == 0:
            continue
        scale, difference = np.abs(expected).max(), np.abs(array - expected).max()
        if not difference <= (contestant.tolerance or AGREEMENT) * scale:  # also true for NaN
            raise WrongResult(f"array {index} of {name} differs from {trusted.name}'s by {difference:.1e} at scale {scale:.1e}")


def measure(case: Case, peers: Peers, *, seconds: float = 3.0, quick: bool = False, watch: Watch | None = None) -> Result:
    """Build, check and time one case. A wrong result is not timed: the error stands in the table instead."""
    result = Result(case, target=None if quick else case.target)
    if watch is not None:
        watch.begin()
    try:
        contestants = with_one_thread(case.build(peers), peers)
        result.dropped = _absent(case, peers) | compare(contestants)
        seconds, rounds = (0.0, 1) if quick else (seconds, case.rounds)
        interleave(contestants, seconds=seconds, least=rounds, quick=quick)
    except Unavailable as reason:
        result.note = str(reason)
    except WrongResult as error:
        result.error = f"wrong result, not timed: {error}"
    except Exception as error:  # one broken op must not cost the table of all the others
        result.error = f"failed: {type(error).__name__}: {error}".splitlines()[0][:300]
    if watch is not None:
        result.conditions = watch.end()
    if result.error or result.note:
        return result
    own, *others = contestants
    result.ratios = {other.name: speed_ratio(own, other) for other in others}
    result.samples = {contestant.name: contestant.seconds for contestant in contestants}
    for contestant in filter(lambda each: each.facts is not None, contestants):
        result.facts |= contestant.facts()
    return result


def _absent(case: Case, peers: Peers) -> dict[str, str]:
    """The peer that the target names, and why there is none; what was left out on purpose needs no word a row."""
    reason = peers.missing.get(case.against, "left out")
    return {} if reason.endswith("left out") else {case.against: reason}


def with_one_thread(contestants: list[Contestant], peers: Peers) -> list[Contestant]:
    """The contestants, and after PyTorch the same on one thread: where that is the faster, its threads were disturbed."""
    named = {contestant.name: contestant for contestant in contestants}
    if "torch" not in named or named["torch"].sample is not None or (peers.threads or 1) < 2:
        return contestants
    torch = peers.get("torch-1")
    if torch is None:
        return contestants
    one = Contestant("torch-1", named["torch"].run, around=functools.partial(torch_threads, torch, 1), rounds=ASIDE)
    place = contestants.index(named["torch"]) + 1
    return [*contestants[:place], one, *contestants[place:]]
