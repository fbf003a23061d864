"""NaN and infinity: where they came from, and what is kept."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from minilm.random import Key
from minilm.typing import Scalar

if TYPE_CHECKING:
    from minilm.training.trainer import Trainer

__all__ = ["NonFiniteError", "check_step", "check_weights", "non_finite", "quiet"]

BLOCK = 1 << 20  # numbers looked at together
MANY = 100  # steps in a row that may be skipped: the weights are at fault then, and not a batch


class NonFiniteError(FloatingPointError):
    """A loss, gradient or weight is NaN or infinite: training stopped, and the last good checkpoint was kept."""


def quiet() -> AbstractContextManager:
    """Inside this block NumPy does not warn of numbers that are not finite: the loop checks for them itself."""
    return np.errstate(over="ignore", invalid="ignore")


def check_step(step: int, loss: Scalar | float, norm: Scalar | float | None, lr: float) -> None:
    """NonFiniteError unless the loss and the norm of a step, where there is one, are finite; `lr` is the rate to blame."""
    for name, value in (("loss", loss), ("norm of the gradients", norm)):
        if value is not None and not math.isfinite(value):
            raise NonFiniteError(f"the {name} is {float(value)} at step {step:,}: a smaller lr than {lr:g} may help")


def non_finite(trainer: Trainer, what: str, batch: tuple, key: Key, error: Exception | None = None) -> Exception:
    """What to raise at a step that cannot be taken; `error` itself if all is finite, since it speaks of something else then."""
    where = trainer.model.diagnose(*batch, *([trainer.carried] if trainer.model.carries_state else []), key=key)
    if where is None and error is not None:
        return error
    return NonFiniteError(
        f"{what} at step {trainer.state.step + 1:,}: first not finite is the {where or 'sum of the squared gradients'}. "
        f"{_kept(trainer)}; a smaller optimizer.lr or optimizer.clip_norm may help"
    )


def check_weights(trainer: Trainer) -> None:
    """NonFiniteError if a weight is not finite: such a checkpoint would be of no use."""
    for name, value in trainer.model.parameters.items():
        flat = value.reshape(-1)
        if not all(np.isfinite(flat[first : first + BLOCK]).all() for first in range(0, flat.size, BLOCK)):
            raise NonFiniteError(f"after step {trainer.state.step:,} the parameter {name} is not finite. {_kept(trainer)}")


def _kept(trainer) -> str:
    return f"The checkpoint of step {trainer.saved:,} in {trainer.folder.path} is kept"
