"""Learning rates over the course of training.

A schedule is called with how far training has come, and answers with a learning rate::

    lr = schedule(progress, epoch=3)

`progress` runs from 0 to 1 over the whole run, whether that is measured in steps or in minutes; `epoch` counts passes
over the text. `PlateauDecay` alone has a memory, which ``state_dict`` gives: `observe` hands it every validation loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from minilm.ops import checks

__all__ = ["Constant", "EpochDecay", "PlateauDecay", "Schedule", "WarmupCosine"]


class Schedule:
    """Base of all schedules."""

    def __call__(self, progress: float, *, epoch: float = 0) -> float:
        """The learning rate at `progress` in [0, 1], in pass number `epoch` (from 0)."""
        raise NotImplementedError

    def observe(self, loss: float) -> bool:
        """Take note of a validation loss; returns whether the learning rate changes for it."""
        return False

    def state_dict(self) -> dict[str, float]:
        """What must be kept to resume."""
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what `state_dict` gave.

        Raises
        ------
        ValueError
            If there is anything in it: this schedule has no state.
        """
        if state:
            raise ValueError(f"{type(self).__name__} has no state, got {', '.join(state)}")


def _rate(name: str, value) -> float:
    return checks.number(name, value, 0, math.inf, high_open=True)


class Constant(Schedule):
    """Always `lr`."""

    def __init__(self, lr: float):
        self.lr = _rate("lr", lr)

    def __call__(self, progress: float, *, epoch: float = 0) -> float:
        return self.lr


class WarmupCosine(Schedule):
    """A rise from nearly 0 to `peak` over the first part of training, then half a cosine down to `final`.

    .. math:: \\eta(p) = \\begin{cases} peak \\cdot p / w & p < w \\\\
              final + (peak - final) \\, (1 + \\cos(\\pi (p - w) / (1 - w))) / 2 & p \\ge w \\end{cases}

    Parameters
    ----------
    peak, final : float
    warmup : float
        The part w of training, in [0, 1).

    References
    ----------
    I. Loshchilov, F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """

    def __init__(self, peak: float, *, warmup: float = 0.0, final: float = 0.0):
        self.peak, self.final = _rate("peak", peak), _rate("final", final)
        self.warmup = checks.number("warmup", warmup, 0, 1, high_open=True)

    def __call__(self, progress: float, *, epoch: float = 0) -> float:
        progress = min(max(float(progress), 0.0), 1.0)
        if progress < self.warmup:
            return self.peak * progress / self.warmup
        angle = math.pi * (progress - self.warmup) / (1 - self.warmup)
        return self.final + (self.peak - self.final) * (1 + math.cos(angle)) / 2


class EpochDecay(Schedule):
    """`lr` for the first `after` epochs, then divided by `factor` once more in every epoch.

    Zaremba's recipes: lr 1 after 4 factor 2 (small), lr 1 after 6 factor 1.2 (medium), lr 1 after 14 factor 1.15 (large).

    References
    ----------
    W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network regularization, 2014.
    """

    def __init__(self, lr: float, *, after: int, factor: float):
        self.lr = _rate("lr", lr)
        self.after = checks.whole("after", after, 0, 2**31)
        self.factor = checks.number("factor", factor, 1, math.inf, high_open=True)

    def __call__(self, progress: float, *, epoch: float = 0) -> float:
        return self.lr / self.factor ** max(0, math.floor(epoch) + 1 - self.after)


class PlateauDecay(Schedule):
    """`lr`, divided by `factor` whenever the validation loss has not fallen for `patience` evaluations.

    Parameters
    ----------
    lr, factor : float
    patience : int
        At least 1. After a division the count starts anew.
    threshold : float
        By how much, in nats, a loss must lie below the best one to count as a fall.
    """

    def __init__(self, lr: float, *, factor: float = 4.0, patience: int = 1, threshold: float = 0.0):
        self.lr = _rate("lr", lr)
        self.factor = checks.number("factor", factor, 1, math.inf, low_open=True, high_open=True)
        self.patience = checks.whole("patience", patience, 1, 2**31)
        self.threshold = checks.number("threshold", threshold, 0, math.inf, high_open=True)
        self._state = {"best": math.inf, "waited": 0, "divisions": 0}

    def __call__(self, progress: float, *, epoch: float = 0) -> float:
        return self.lr / self.factor ** self._state["divisions"]

    def observe(self, loss: float) -> bool:
        state = self._state
        if loss < state["best"] - self.threshold:
            state.update(best=float(loss), waited=0)
            return False
        state["waited"] += 1  # also for NaN
        if state["waited"] < self.patience:
            return False
        state.update(waited=0, divisions=state["divisions"] + 1)
        return True

    def state_dict(self) -> dict[str, float]:
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Raises
        ------
        ValueError
            If a part is missing or unknown."""
        if set(state) != set(self._state):
            raise ValueError(f"the state must hold {', '.join(self._state)}, got {', '.join(state) or 'nothing'}")
        self._state = {"best": float(state["best"]), "waited": int(state["waited"]), "divisions": int(state["divisions"])}
