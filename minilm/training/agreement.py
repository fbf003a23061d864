"""What all ranks of a job must decide alike: when time is up, and whether a signal asks for a stop.

Clocks differ, and a signal reaches each process at another moment. So every step the ranks exchange both with the step's losses:
the clock is rank 0's, and a signal that any rank has got is everybody's from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from minilm.distributed import Communicator
from minilm.training.state import Stopwatch

__all__ = ["Agreement"]


class Agreement:
    """What the ranks have agreed on. Of one rank alone: what it sees itself.

    Parameters
    ----------
    communicator : Communicator
    """

    def __init__(self, communicator: Communicator):
        self.communicator = communicator
        self._stopwatch: _Agreed | None = None
        self._own = self._signal = 0

    def stopwatch(self, seconds: float) -> Stopwatch:
        """A stopwatch that shows the same to all ranks: what rank 0's showed at the last `exchange`."""
        if self.communicator.size == 1:
            return Stopwatch(seconds)
        self._stopwatch = _Agreed(seconds)
        return self._stopwatch

    def signal(self, own: int | None) -> int | None:
        """The signal that any rank had got at the last `exchange`; `own` is the one that this rank has got."""
        if self.communicator.size == 1:
            return own
        self._own = own or 0
        return self._signal or None

    def exchange(self, numbers: Sequence[float]) -> np.ndarray:
        """The numbers of all ranks, (size, n); clock and signal are agreed on by the way."""
        own = Stopwatch() if self._stopwatch is None else self._stopwatch.own
        rows = self.communicator.exchange([own.seconds, own.elsewhere, float(self._own), *numbers])
        if self._stopwatch is not None:
            self._stopwatch.seconds, self._stopwatch.elsewhere = rows[0, :2].tolist()
        self._signal = int(rows[:, 2].max())
        return rows[:, 3:]


class _Agreed(Stopwatch):
    """What another stopwatch showed at the last exchange."""

    seconds: float = 0.0  # type: ignore[assignment]

    def __init__(self, seconds: float):
        self.own, self.seconds, self.elsewhere = Stopwatch(seconds), seconds, 0.0

    def stopped(self) -> AbstractContextManager:
        return self.own.stopped()
