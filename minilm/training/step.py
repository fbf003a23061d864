"""One step of training, from a batch to the new weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from minilm import devices
from minilm.ops import clip
from minilm.ops.workspace import Workspace
from minilm.training import passes

__all__ = ["NotFinite", "Result", "Step"]


class NotFinite(FloatingPointError):
    """The norm of the gradients is not finite, and no weight was changed. (On a GPU nobody looks, and it is not raised.)"""


class Result(NamedTuple):
    """Of a step; on a GPU all of it lies there."""

    loss: Any
    norm: Any  # of the gradients, before clipping
    state: Any  # what the next step starts from, of a recurrent model


class Step:
    """Forward, backward, clipping, update, and the running mean of the weights.

    Parameters
    ----------
    model
        Of `minilm.models`.
    optimizer : Optimizer
    average : WeightAverage, optional
    """

    def __init__(self, model, optimizer, average=None):
        self.model, self.optimizer, self.average = model, optimizer, average
        self.workspace = Workspace()

    def __call__(self, batch, state, keys, counts, lr, *, number=None, rate=None) -> Result:
        """Train on a batch.

        Parameters
        ----------
        batch, state, keys, counts
            See `minilm.training.passes.run`.
        lr, number
            See `minilm.optimizers.Optimizer.step`.
        rate
            See `minilm.optimizers.WeightAverage.update`.

        Raises
        ------
        passes.NoLoss, NotFinite
        """
        loss, after = passes.run(self.model, batch, state, keys, counts, self.workspace)
        norm = clip.norm(self.model.parameters.gradient_flat)
        if not devices.on_gpu(norm) and not math.isfinite(norm):
            raise NotFinite("the norm of the gradients is not finite")
        self.optimizer.step(lr, number=number, norm=norm)
        if self.average is not None:
            self.average.update(rate)
        return Result(loss, norm, after)
