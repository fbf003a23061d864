"""What a run of a recipe gives."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Result"]


class Result(NamedTuple):
    """What a run of a recipe gave."""

    metrics: dict[str, float]
    chance: float  # what a guess reaches in the main metric
    samples: list[tuple[str, str, str]]  # (input, wanted, given)
    steps: int
    seconds: float  # of training, without compilation and the last evaluation
    folder: str | None
    stopped: int | None = None  # the signal that ended training early
