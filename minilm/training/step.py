r"""One step of training, from a batch to the new weights, the batch in one part or in several.

::

    loss, saved = model.forward(*batch, state, key=key)
    model.backward(saved)                                    adds the gradients to their buffer
    norm        = ‖gradients‖                                `minilm.ops.clip`
    optimizer.step(lr, norm=norm)                            clips, updates the weights, clears the gradients
    average.update()                                         where a running mean of the weights is kept
    state       = saved.state                                of a recurrent model: what the next step starts from

With A parts of a batch's rows, the loss of the batch is the mean of the parts' losses, each weighted by its share of
what the mean is over: with n_a targets in part a,

.. math:: L = \sum_a w_a L_a, \qquad w_a = n_a / \sum_b n_b, \qquad dL = \sum_a w_a \, dL_a

so that the gradients add up in the gradient buffer, and only one part's activations are there at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.data import IGNORE
from minilm.ops import clip
from minilm.ops.workspace import Workspace, scratch
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.typing import Array, Ids, State

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["NoLoss", "NotFinite", "Result", "Step", "counts", "forward_backward_parts", "joined", "restarted", "rows_of"]


class NoLoss(ArithmeticError):
    """The loss is not finite, or there is none; ``__cause__`` says what the model said."""


class NotFinite(FloatingPointError):
    """The norm of the gradients is not finite, and no weight was changed. (On a GPU nobody looks, and it is not raised.)"""


class Result(NamedTuple):
    """What one step gives; on a GPU all of it stays there."""

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

    def __init__(self, model: LanguageModel, optimizer: Optimizer, average: WeightAverage | None = None):
        self.model, self.optimizer, self.average = model, optimizer, average
        self.workspace = Workspace()
        self.rows = slice(None)  # of a batch: those that go through the model here

    def __call__(
        self,
        batch: tuple,
        state: State | None,
        keys: list[Key],
        counts: np.ndarray,
        lr: float | Array,
        *,
        number: Array | None = None,
        rate: Array | None = None,
    ) -> Result:
        """Train on a batch.

        Parameters
        ----------
        batch, state, keys, counts
            See `forward_backward_parts`.
        lr, number
            See `minilm.optimizers.Optimizer.step`.
        rate
            See `minilm.optimizers.WeightAverage.update`.

        Raises
        ------
        NoLoss, NotFinite
        """
        with self.workspace.step():
            loss, after = self.gradients(batch, state, keys, counts)
        norm = self.norm()
        if not devices.on_gpu(norm) and not math.isfinite(norm):
            raise NotFinite("the norm of the gradients is not finite")
        self.update(lr, norm, number)
        if self.average is not None:
            self.average.update(rate)
        return Result(loss, norm, after)

    def gradients(self, batch: tuple, state: State | None, keys: list[Key], counts: np.ndarray) -> tuple[Any, ...]:
        """The loss of a batch and the state after it; its gradients are added to their buffer. See `forward_backward_parts`."""
        return forward_backward_parts(self.model, batch, state, keys, counts)

    def norm(self) -> Any:
        """The norm of the gradients."""
        return clip.norm(self.model.parameters.gradient_flat)

    def update(self, lr: float | Array, norm: Any, number: Array | None = None) -> None:
        """Update the weights, and clear the gradients."""
        self.optimizer.step(lr, number=number, norm=norm)

    def whole_state(self, state: State | None) -> State | None:
        """A recurrent state after a step as that of all rows of the batch."""
        return state


def counts(model: LanguageModel, batch: tuple, parts: int) -> np.ndarray:
    """What each loss of each part of a batch is a mean over, (A, losses); from the batch as it is on the host."""
    return np.array([_counts(model, part) for part in _parts(batch, parts)], float)


def forward_backward_parts(
    model: LanguageModel,
    batch: tuple,
    state: State | None,
    keys: list[Key],
    counts: np.ndarray,
    totals: np.ndarray | None = None,
) -> tuple[Any, ...]:
    """The loss of a batch; its gradients are added to their buffer.

    Parameters
    ----------
    model
        Of `minilm.models`.
    batch : tuple of arrays
        What the model's ``forward`` takes, targets second, rows first: (B, ...) each.
    state : ndarray, tuple of ndarray, or None
        Of a recurrent model, (layers, B, H) each.
    keys : list of Key
        For dropout, one for each part that the rows are cut into.
    counts : ndarray, (A, losses)
        Of `counts`.
    totals : ndarray, (losses,), optional
        What the losses are a mean over, where these rows are but a part of the batch.

    Returns
    -------
    loss : float, or an array without axes on the GPU
    state : after the last step, or None

    Raises
    ------
    NoLoss
    """
    if len(keys) == 1 and totals is None:
        loss, saved = _forward(model, batch, state, keys[0])
        model.backward(saved)
        return loss, getattr(saved, "state", None)
    shares = counts / (counts.sum(axis=0) if totals is None else totals)  # (A, losses)
    total, states = 0.0, []
    rows = _cuts(batch, len(keys))
    for number, (part, key) in enumerate(zip(_parts(batch, len(keys)), keys, strict=True)):
        before = rows_of(state, rows[number])
        if not counts[number, 0]:  # rows that have ended: the mean over no targets is not defined, and its share is zero
            states.append(before)
            continue
        with scratch():
            loss, saved = _forward(model, part, before, key)
            losses = getattr(saved, "losses", (loss,))
            for share, part_loss in zip(shares[number], losses, strict=True):
                total = total + float(share) * part_loss
            model.backward(saved, dloss=tuple(shares[number]) if len(losses) > 1 else float(shares[number, 0]))
        states.append(getattr(saved, "state", None))
    return total, joined(states)


def restarted(state: State | None, rows: Ids) -> State | None:
    """A recurrent state, (layers, B, H) each, with zeros in the rows where `rows`, (B,) bool on the host, is True."""
    if isinstance(state, tuple):
        return tuple(restarted(part, rows) for part in state)
    state = state.copy()
    for row in np.flatnonzero(rows):
        state[:, row] = 0
    return state


def _cuts(batch, parts: int) -> list[slice]:
    """The rows of each part."""
    cuts = np.linspace(0, len(batch[0]), parts + 1).astype(int)  # (A + 1,)
    return [slice(start, stop) for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]


def _parts(batch, parts: int) -> list[tuple]:
    return [tuple(array[rows] for array in batch) for rows in _cuts(batch, parts)]


def _forward(model, batch, state, key):
    try:
        loss, saved = model.forward(*batch, *([state] if model.carries_state else []), key=key)
    except ValueError as error:
        raise NoLoss("there is no loss") from error
    if devices.on_gpu(loss):  # to look at it would be to wait for it: the trainer does so now and then
        return loss, saved
    if not math.isfinite(loss):
        raise NoLoss(f"the loss is {float(loss)}")
    return float(loss), saved


def _counts(model, batch):
    """What each loss of a batch is a mean over."""
    targets = int(np.count_nonzero(batch[1] != IGNORE))
    return (targets, len(batch[0])) if model.objective == "masked" else (targets,)


def rows_of(state: State | None, rows: slice) -> State | None:
    """Some rows of a recurrent state, (layers, B, H) each."""
    if isinstance(state, tuple):
        return tuple(rows_of(part, rows) for part in state)
    return None if state is None else devices.array_module(state).ascontiguousarray(state[:, rows])  # (layers, rows, H)


def joined(states: list) -> State | None:
    """The recurrent state of neighbouring rows from that of each part of them, (layers, B, H) each."""
    if isinstance(states[0], tuple):
        return tuple(joined(parts) for parts in zip(*states, strict=True))  # (layers, B, H) each
    return None if states[0] is None else devices.array_module(states[0]).concatenate(states, axis=1)
