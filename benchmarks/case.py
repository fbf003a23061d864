"""One line of the table: how a case is built, checked, timed and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.machine import Machine
from benchmarks.timing import Contestant, Spread, interleave, speed_ratio, spread

# Largest difference between contestants, relative to the largest absolute value of an array. Rounding in float32 stays
# a factor of ten below it at these sizes; a wrong formula lies orders of magnitude above. The proof is the test suite's.
AGREEMENT = 1e-3


class WrongResult(Exception):
    """A contestant computed something else than the others."""


@dataclass(frozen=True)
class Case:
    """One computation, at one size.

    Attributes
    ----------
    name : str
        What the table says: subject and sizes.
    suite : {"ops", "models"}
    subject : str
        The op, layer or model, by which a user picks it.
    build : callable
        ``build(torch) -> list of Contestant``, minilm first; `torch` is the module or None.
    flops, moved : float
        Arithmetic and bytes of one run, for the roofline; 0 where no figure makes sense.
    target : float or None
        Least ratio of minilm's speed to the peer's that the project asks for.
    """

    name: str
    suite: str
    subject: str
    build: Callable[..., list[Contestant]]
    flops: float = 0
    moved: float = 0
    target: float | None = None


@dataclass
class Result:
    """What a case gave: ratios, no absolute times."""

    name: str
    suite: str
    subject: str
    ratios: dict[str, Spread] = field(default_factory=dict)  # other contestant -> how many times as fast minilm is
    work: tuple[float, float] = (0, 0)  # flops and bytes of a run
    seconds: list[float] = field(default_factory=list, repr=False)  # minilm's, a round each; never printed
    roof: Spread | None = None  # fraction of the machine's roofline minilm reaches
    bound: str = ""  # "matmul" or "bandwidth"
    rounds: int = 0
    target: float | None = None
    error: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target or without the peer."""
        if self.target is None or "torch" not in self.ratios:
            return None
        return self.ratios["torch"].median >= self.target

    def hold_against(self, machine: Machine) -> None:
        """Fill in `roof` and `bound`."""
        if self.seconds and any(self.work):
            least = machine.roof_seconds(*self.work)
            self.roof, self.bound = spread([least / value for value in self.seconds]), machine.bound(*self.work)


def compare(contestants: list[Contestant]) -> None:
    """Run every contestant once and compare what came out with the oracle's (else the first's).

    Raises
    ------
    WrongResult
        Naming the contestant, the array and the difference.
    """
    results = []
    for contestant in contestants:
        output = contestant.run()  # also where nothing is compared: what compiles, compiles here
        if contestant.arrays is not None:
            results.append((contestant.name, contestant.arrays(output)))
    if len(results) < 2:
        return
    trusted, reference = next((pair for pair in results if pair[0] == "oracle"), results[0])
    for name, arrays in results:
        if len(arrays) != len(reference):
            raise WrongResult(f"{name} gave {len(arrays)} arrays, {trusted} {len(reference)}")
        for index, (array, expected) in enumerate(zip(arrays, reference, strict=True)):
            array, expected = np.asarray(array, np.float64), np.asarray(expected, np.float64)
            if array.shape != expected.shape:
                raise WrongResult(f"array {index} of {name} has shape {array.shape}, of {trusted} {expected.shape}")
            if expected.size == 0:
                continue
            scale = np.abs(expected).max()
            difference = np.abs(array - expected).max()
            if not difference <= AGREEMENT * scale:  # also true for NaN
                raise WrongResult(f"array {index} of {name} differs from {trusted}'s by {difference:.1e} at scale {scale:.1e}")


def measure(case: Case, torch=None, *, seconds: float = 3.0, quick: bool = False) -> Result:
    """Build, check and time one case. A wrong result is not timed: the error stands in the table instead."""
    result = Result(case.name, case.suite, case.subject, work=(case.flops, case.moved), target=None if quick else case.target)
    try:
        contestants = case.build(torch)
        compare(contestants)
    except WrongResult as error:
        result.error = f"wrong result, not timed: {error}"
    except Exception as error:  # one broken op must not cost the table of all the others
        result.error = f"failed: {type(error).__name__}: {error}"
    if result.error:
        return result
    interleave(contestants, seconds=seconds, least=3 if quick else 5, quick=quick)
    own, *others = contestants
    result.ratios = {other.name: speed_ratio(own, other) for other in others}
    result.seconds = own.seconds
    result.rounds = len(own.seconds)
    return result
