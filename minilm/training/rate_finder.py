"""A learning-rate finder: one short run whose rate grows from step to step.

The rate rises from `low` to `high` by the same factor each step, and the loss is watched::

    lr_i = low (high / low)^(i / (n - 1))          i = 0 ... n - 1
    m_i  = β m_{i-1} + (1 - β) loss_i              m_{-1} = 0, β = 0.9
    s_i  = m_i / (1 - β^{i+1})                     the smoothed loss: a running mean, corrected as Adam's are

Below some rate nothing is learned, above another it diverges; good ones lie between. `suggestion` is the rate where the smoothed
loss falls most steeply by the logarithm of the rate. The run stops where the smoothed loss is `diverged` times its least value.
The model and the optimizer are then as they were before.

Reference: L. N. Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minilm.ops import checks
from minilm.optimizers import Optimizer
from minilm.training.divergence import NonFiniteError
from minilm.training.events import Callback
from minilm.training.loop import Loop
from minilm.training.protocol import Trainable

__all__ = ["RateTest", "find_lr"]

SMOOTHING = 0.9


class RateTest(NamedTuple):
    """What each of n steps gave."""

    rates: np.ndarray  # (n,)
    losses: np.ndarray  # (n,)
    smoothed: np.ndarray  # (n,)
    suggestion: float  # the rate where the smoothed loss falls most steeply

    def __repr__(self) -> str:
        tried = f"{len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"RateTest(suggestion={self.suggestion:.3g}, of {tried})"


class _Rising(Callback):
    def __init__(self, low: float, high: float, steps: int, diverged: float):
        self.low, self.high, self.steps, self.diverged = low, high, steps, diverged
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0

    def on_step_begin(self, loop: Loop) -> None:
        part = len(self.losses) / max(1, self.steps - 1)
        loop.lr = self.low * (self.high / self.low) ** part

    def on_step_end(self, loop: Loop) -> None:
        self.rates.append(loop.lr)
        self.losses.append(float(loop.loss))
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * self.losses[-1]
        self.smoothed.append(self._mean / (1 - SMOOTHING ** len(self.losses)))
        least = min(self.smoothed)
        if len(self.losses) > 10 and self.smoothed[-1] - least > (self.diverged - 1) * abs(least):
            loop.stop()


def find_lr(
    model: Trainable,
    optimizer: Optimizer,
    batches: Iterable[tuple],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    diverged: float = 2.0,
    seed: int = 0,
) -> RateTest:
    """Try rates from `low` to `high`, and put everything back.

    Parameters
    ----------
    model : Trainable
    optimizer : Optimizer
        Of its parameters; its own rate plays no part.
    batches : iterable of tuples of arrays
        What the model's ``forward`` takes; `steps` of them are used, or fewer where there are fewer.
    low, high : float
    steps : int
    diverged : float
        Stop where the smoothed loss is so many times its least value.
    seed : int
        Of dropout.

    Returns
    -------
    RateTest

    Raises
    ------
    ValueError
        For rates that are not 0 < low < high, or fewer than 3 steps before it diverged.
    """
    low = checks.number("low", low, 0, math.inf, low_open=True)
    if not low < checks.number("high", high, 0, math.inf) < math.inf:
        raise ValueError(f"high must be a rate above low, got low={low:g} and high={high:g}")
    rising = _Rising(low, high, checks.whole("steps", steps, 3, 2**31), checks.number("diverged", diverged, 1, math.inf))
    weights, state = model.parameters.flat.copy(), optimizer.state_dict()
    try:
        Loop(model, optimizer, batches, steps=steps, seed=seed, callbacks=[rising]).run()
    except NonFiniteError:
        pass  # that is how the last rate shows that it is too high
    finally:
        model.parameters.flat[...] = weights
        model.parameters.zero_gradients()
        optimizer.load_state_dict(state)
    if len(rising.losses) < 3:
        raise ValueError(
            f"the loss diverged, or the batches ended, after {len(rising.losses)} steps: begin lower than low={low:g}"
        )
    rates, losses, smoothed = (np.array(each) for each in (rising.rates, rising.losses, rising.smoothed))
    fall = np.gradient(smoothed, np.log(rates))  # (n,)
    return RateTest(rates, losses, smoothed, float(rates[fall.argmin()]))
