"""Losses by Keras's names: pairs of forward and backward, with a number for every row, or for every step of every row.

A cross-entropy of probabilities that come out of a softmax or a sigmoid is computed from the logits, which went into it: the same
number, without the logarithm of a rounded probability. Other probabilities are clipped to [1e-7, 1 - 1e-7], as in Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.mistaken import did_you_mean
from minilm.ops import checks, cross_entropy, softmax
from minilm.typing import Array, Scalar

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "loss_of",
]

EPSILON = 1e-7


class Loss:
    """Base of all losses.

    ``values, saved = loss.forward(y_true, y_pred)`` and ``dy_pred = loss.backward(dvalues, saved)``; y_pred is (..., C),
    values are (...). Of a model on a GPU, all of them are CuPy's arrays.

    Parameters
    ----------
    name : str, optional
        Without it the class's own.
    """

    name = ""
    follows = ""  # the activation whose argument, the logits, `forward` takes with logits=True
    sparse = False  # whether y_true holds class numbers, and so has one axis less than y_pred

    def __init__(self, *, name: str | None = None):
        self.name = name or self.name
        self.from_logits = False

    def __call__(self, y_true: Array, y_pred: Array) -> float:
        """The mean of the values that count, for y_true and y_pred as `forward` takes them; 0 where none does."""
        y_true = np.asarray(y_true)
        y_pred = np.asarray(y_pred, None if np.asarray(y_pred).dtype in checks.FLOATS else np.float32)
        values, counted = self.forward(y_true, y_pred, self.from_logits)[0], self.counted(y_true)
        return float(values.mean() if counted is None else values[counted].sum() / max(1, counted.sum()))

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Array, Any]:
        """The loss of every row, or of every step of every row.

        Parameters
        ----------
        y_true : ndarray, shape (..., C); or of integers (...), where the loss is `sparse`
            Targets.
        y_pred : ndarray, shape (..., C), float32 or float64
            The model's outputs.
        logits : bool
            Whether y_pred is what the activation `follows` would be applied to.

        Returns
        -------
        values : ndarray, shape (...)
        saved
            What `backward` needs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dvalues: Array, saved: Any) -> Array:
        """dy_pred (..., C), from dvalues (...) and what `forward` saved."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def counted(self, y_true: Array) -> np.ndarray | None:
        """Which targets count, an array of bool (...); None where all do."""
        return None

    def get_config(self) -> dict:
        """The constructor's arguments, the name left out."""
        return {}


class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None):
        super().__init__(name=name)
        self.from_logits = checks.flag("from_logits", from_logits)
        self.label_smoothing = checks.number("label_smoothing", label_smoothing, 0, 1)

    def get_config(self) -> dict:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class SparseCategoricalCrossentropy(_Crossentropy):
    """-log p[y], with y the number of the class.

    Parameters
    ----------
    from_logits : bool
        Whether the model's outputs are logits, and not the probabilities p.
    ignore_class : int, optional
        Targets with this number do not count in the loss, as if a mask left them out. Metrics count them, as in Keras.
    name : str, optional

    Raises
    ------
    ValueError
        From `forward`, if a target is not in [0, C), with its position.
    """

    name, follows, sparse = "sparse_categorical_crossentropy", "softmax", True

    def __init__(self, from_logits: bool = False, *, ignore_class: int | None = None, name: str | None = None):
        super().__init__(from_logits, name=name)
        self.ignore_class = None if ignore_class is None else checks.whole("ignore_class", ignore_class, -(2**62), 2**62)

    def get_config(self) -> dict:
        return {"from_logits": self.from_logits, "ignore_class": self.ignore_class}

    def counted(self, y_true: Array) -> Array | None:
        return None if self.ignore_class is None else y_true != self.ignore_class

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Scalar, Any]:
        C, counted = y_pred.shape[-1], self.counted(y_true)
        if counted is not None:  # targets that do not count need a class that there is; no mean takes their values
            y_true = np.where(counted, y_true, 0)
        y_true = checks.ids("y", y_true, C)
        if logits:
            values, saved = cross_entropy.forward(y_pred, y_true, reduction="none")  # (...)
        else:
            p = np.clip(y_pred, EPSILON, 1 - EPSILON)  # (..., C)
            total = p.sum(axis=-1)  # (...): Keras takes the logarithms as logits, whose softmax divides by the sum
            own = np.take_along_axis(p, y_true[..., None], axis=-1)[..., 0]
            values, saved = np.log(total) - np.log(own), (y_true, y_pred, p, total)
        return values, (logits, saved)

    def backward(self, dvalues: Array, saved: Any) -> Array:
        logits, inner = saved
        if logits:
            return cross_entropy.backward(checks.kernel_ready(dvalues), inner)
        y_true, y_pred, p, total = inner
        own = devices.array_module(p).arange(p.shape[-1]) == y_true[..., None]  # (..., C)
        dp = (dvalues / total)[..., None] - np.where(own, dvalues[..., None] / p, p.dtype.type(0))  # (..., C)
        return dp * (p == y_pred)  # a clipped probability has no derivative


class CategoricalCrossentropy(_Crossentropy):
    """-Σ y log p, with y a distribution over the classes.

    Parameters
    ----------
    from_logits : bool
        Whether the model's outputs are logits, and not the probabilities p.
    label_smoothing : float
        In [0, 1]: this part of y is spread evenly over all classes.
    name : str, optional
    """

    name, follows = "categorical_crossentropy", "softmax"

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Array, Any]:
        q = y_true.astype(y_pred.dtype, copy=False)  # (..., C)
        if self.label_smoothing:
            q = q * (1 - self.label_smoothing) + self.label_smoothing / q.shape[-1]
            q = q.astype(y_pred.dtype, copy=False)
        if logits:
            log_p, inner = softmax.log_forward(y_pred)  # (..., C)
        else:
            total = y_pred.sum(axis=-1, keepdims=True)
            p = np.clip(y_pred / total, EPSILON, 1 - EPSILON)
            log_p, inner = np.log(p), (p, total, y_pred)
        return -(q * log_p).sum(axis=-1), (logits, q, inner)

    def backward(self, dvalues: Array, saved: Any) -> Array:
        logits, q, inner = saved
        dlog_p = -q * dvalues[..., None]  # (..., C)
        if logits:
            return softmax.log_backward(dlog_p, inner)
        p, total, y_pred = inner
        dp = dlog_p / p * (p == y_pred / total)
        return (dp - (dp * y_pred).sum(axis=-1, keepdims=True) / total) / total


class BinaryCrossentropy(_Crossentropy):
    """-y log p - (1 - y) log(1 - p), the mean over the last axis, with y 0 or 1, or between them.

    Parameters
    ----------
    from_logits : bool
        Whether the model's outputs are logits, and not the probabilities p.
    label_smoothing : float
        In [0, 1]: y is moved this part of the way to 1/2.
    name : str, optional
    """

    name, follows = "binary_crossentropy", "sigmoid"

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Array, Any]:
        t = y_true.astype(y_pred.dtype, copy=False)  # (..., C)
        if self.label_smoothing:
            t = (t * (1 - self.label_smoothing) + 0.5 * self.label_smoothing).astype(y_pred.dtype, copy=False)
        if logits:
            z = y_pred
            each = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
            return each.mean(axis=-1), (logits, t, z)
        p = np.clip(y_pred, EPSILON, 1 - EPSILON)
        return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=-1), (logits, t, (p, y_pred))

    def backward(self, dvalues: Array, saved: Any) -> Array:
        logits, t, inner = saved
        share = dvalues[..., None] / t.dtype.type(t.shape[-1])  # (..., 1)
        if logits:
            e = np.exp(-np.abs(inner))
            return (np.where(inner >= 0, 1, e) / (1 + e) - t) * share  # σ(z) - t
        p, y_pred = inner
        return ((1 - t) / (1 - p) - t / p) * share * (p == y_pred)


class MeanSquaredError(Loss):
    """(y - p)², the mean over the last axis; p are the model's outputs."""

    name = "mean_squared_error"

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Array, Any]:
        difference = y_pred - y_true.astype(y_pred.dtype, copy=False)  # (..., C)
        return (difference * difference).mean(axis=-1), difference

    def backward(self, dvalues: Array, saved: Any) -> Array:
        return saved * (dvalues[..., None] * saved.dtype.type(2 / saved.shape[-1]))


class MeanAbsoluteError(Loss):
    """|y - p|, the mean over the last axis; p are the model's outputs."""

    name = "mean_absolute_error"

    def forward(self, y_true: Array, y_pred: Array, logits: bool = False) -> tuple[Array, Any]:
        difference = y_pred - y_true.astype(y_pred.dtype, copy=False)  # (..., C)
        return np.abs(difference).mean(axis=-1), difference

    def backward(self, dvalues: Array, saved: Any) -> Array:
        return np.sign(saved) * (dvalues[..., None] * saved.dtype.type(1 / saved.shape[-1]))


KINDS = {
    kind.name: kind
    for kind in (
        SparseCategoricalCrossentropy,
        CategoricalCrossentropy,
        BinaryCrossentropy,
        MeanSquaredError,
        MeanAbsoluteError,
    )
}
SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}


def loss_of(loss: str | Loss | type) -> Loss:
    """The loss of a name or of a class, or the loss itself; ValueError for anything else, with the nearest name."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    name = SHORT.get(str(loss).lower(), loss)
    if name not in KINDS:
        hint = did_you_mean(loss, [*KINDS, *SHORT])
        raise ValueError(f"loss must be a loss's name or a minilm.sequential.losses.Loss, got {loss!r}; {hint}")
    return KINDS[name]()
