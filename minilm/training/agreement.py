"""What all ranks of a job must decide alike: when time is up, and whether a signal asks for a stop.

Clocks differ, and a signal reaches each process at another moment. So every step the ranks exchange both with the step's losses:
the clock is rank 0's, and a signal that any rank has got is everybody's from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        seconds = 0.0 if self._stopwatch is None else self._stopwatch.own
        rows = self.communicator.exchange([seconds, float(self._own), *numbers])
        if self._stopwatch is not None:
            self._stopwatch.agreed = float(rows[0, 0])
        self._signal = int(rows[:, 1].max())
        return rows[:, 2:]


class _Agreed(Stopwatch):
    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.agreed = seconds

    @property
    def own(self) -> float:
        return super().seconds

    @property
    def seconds(self) -> float:
        return self.agreed
