"""Metrics by Keras's names: the mean, over all rows or steps that count, of a number for each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from minilm import devices
from minilm.mistaken import did_you_mean
from minilm.sequential.losses import KINDS, SHORT, Loss, loss_of
from minilm.typing import Array

__all__ = ["Metric", "metric_of"]


def _sparse(y_true, y_pred):
    return y_pred.argmax(axis=-1) == y_true


def _categorical(y_true, y_pred):
    return y_pred.argmax(axis=-1) == y_true.argmax(axis=-1)


def _binary(y_true, y_pred):
    return ((y_pred > 0.5) == y_true).mean(axis=-1)  # a label that is neither 0 nor 1 is never met


def _values(loss: Loss, y_true, y_pred):
    return loss.forward(y_true, y_pred)[0]


FUNCTIONS = {
    "sparse_categorical_accuracy": _sparse,
    "categorical_accuracy": _categorical,
    "binary_accuracy": _binary,
}
AUTOMATIC = ("accuracy", "acc")


class Metric:
    """The mean of ``function(y_true, y_pred)`` over all rows or steps that count, of all batches since the last reset.

    Parameters
    ----------
    name : str
    function : callable
        Of targets and outputs (..., C), both as the loss takes them, to an array of numbers (...).
    anywhere : bool
        Whether the function takes arrays of a GPU too; if not, every batch is copied to the host for it.
    """

    def __init__(self, name: str, function: Callable, anywhere: bool = False):
        self.name, self.function, self.anywhere = name, function, anywhere
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.weight = 0.0, 0.0

    def update(self, y_true: Array, y_pred: Array, mask: Array | None = None) -> None:
        """Count a batch.

        Parameters
        ----------
        y_true, y_pred : ndarray
            Targets, and outputs (..., C).
        mask : ndarray of bool, shape (...), optional
            True for the values that count. One of another shape than the function's values is not used.
        """
        if not self.anywhere:
            y_true, y_pred, mask = devices.to_host((y_true, y_pred, mask))
        values = self.function(y_true, y_pred)
        if devices.on_gpu(values):  # the sums stay there too
            counted = mask is not None and mask.shape == values.shape
            values = values.astype(np.float64)
            self.total = self.total + (np.where(mask, values, 0.0) if counted else values).sum()
            self.weight = self.weight + (mask.sum() if counted else values.size)
            return
        values = np.asarray(values, np.float64)
        if mask is not None and mask.shape == values.shape:
            self.total += float(values[mask].sum())
            self.weight += float(mask.sum())
        else:
            self.total += float(values.sum())
            self.weight += values.size

    def result(self) -> float:
        """The mean, 0 where nothing was counted. A GPU is waited for."""
        total, weight = float(self.total), float(self.weight)
        return total / weight if weight else 0.0


def metric_of(metric: str | Metric | Callable, loss: Loss, width: int) -> Metric:
    """A new metric, which has counted nothing.

    Parameters
    ----------
    metric : str, Metric or callable
        A name, or a function of (y_true, y_pred) with a number for every row. "accuracy" becomes the one that fits, as Keras
        chooses it: of class numbers, of outputs one wide, or of distributions.
    loss : Loss
    width : int
        C of the outputs (..., C); this and the loss decide what "accuracy" is.

    Raises
    ------
    ValueError
        For a name that is not known; the message suggests the nearest.
    """
    if isinstance(metric, Metric):
        return Metric(metric.name, metric.function, metric.anywhere)
    if callable(metric):
        return Metric(getattr(metric, "__name__", "metric"), metric)
    if metric in AUTOMATIC:
        if loss.sparse:
            return Metric(metric, _sparse, anywhere=True)
        return Metric(metric, _binary if width == 1 else _categorical, anywhere=True)
    if metric in FUNCTIONS:
        return Metric(metric, FUNCTIONS[metric], anywhere=True)
    if metric in SHORT or metric in KINDS:
        other = loss_of(metric)
        return Metric(metric, functools.partial(_values, other), anywhere=True)
    known = [*AUTOMATIC, *FUNCTIONS, *SHORT, *KINDS]
    hint = did_you_mean(metric, known)
    raise ValueError(f"metrics must hold metrics' names or functions of (y_true, y_pred), got {metric!r}; {hint}")
