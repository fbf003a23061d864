"""Linear probes: what can be read off a model's activations by one linear map.

::

    p(y | h) = softmax(W (h - μ) / σ + b)                 L = -mean log p(y | h) + λ |W|² / 2

trained on activations h that `minilm.hooks` gave, by Adam on the whole set. That a probe reads a property shows that it is there,
not that the model uses it (`patch` shows that); and a probe with many inputs can learn anything. So beside its accuracy stands
that of the same probe on labels that were drawn at random, one for each of `groups` (such as word types): the difference is
the selectivity.

References: G. Alain, Y. Bengio, Understanding intermediate layers using linear classifier probes, arXiv:1610.01644; J. Hewitt,
P. Liang, Designing and interpreting probes with control tasks, EMNLP 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm import layers, optimizers
from minilm.ops import checks, cross_entropy

__all__ = ["LinearProbe", "linear_probe"]


class LinearProbe(NamedTuple):
    """A trained probe for C classes, and how well it reads held-out rows."""

    weight: np.ndarray  # (C, D) for the activations as they are
    bias: np.ndarray  # (C,)
    accuracy: float  # of the held-out rows
    majority: float  # what always saying the most frequent class of training would reach
    control: float | None  # accuracy with random labels of the groups
    train_accuracy: float

    @property
    def selectivity(self) -> float | None:
        """Accuracy less the control's."""
        return None if self.control is None else self.accuracy - self.control

    def predict(self, h: ArrayLike) -> np.ndarray:
        """Classes (N,) of activations (N, D)."""
        return (np.asarray(h) @ self.weight.T + self.bias).argmax(axis=1)


def linear_probe(
    h: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    held_out: float = 0.25,
    l2: float = 1e-3,
    steps: int = 300,
    lr: float = 0.03,
    seed: int = 0,
) -> LinearProbe:
    """Train one.

    Parameters
    ----------
    h : ndarray, shape (N, D)
        Activations, one row an example.
    labels : ndarray of integers, shape (N,)
        Classes from 0.
    groups : ndarray of integers, shape (N,), optional
        For the control: rows of one group, such as those of one word, get the same random label.
    held_out : float
        Share of the rows, drawn by `seed`, that the accuracy is measured on.
    l2, lr : float
        λ; Adam's step.
    steps, seed : int

    Returns
    -------
    LinearProbe

    Raises
    ------
    ValueError
        If `h` is no array of floats (N, D) with two rows at least, or `labels` or `groups` do not fit it.
    """
    h = checks.as_array(np.asarray(h))
    if h.ndim != 2 or not np.issubdtype(h.dtype, np.floating) or len(h) < 2:
        raise ValueError(f"h must be an array of floats of shape (N, D), N at least 2, got {checks.describe(h)}")
    labels = _classes("labels", labels, len(h))
    checks.number("held_out", held_out, 0, 1)
    rng = np.random.default_rng(checks.whole("seed", seed, 0, 2**63))
    order = rng.permutation(len(h))
    test, train = np.split(order, [min(len(h) - 1, max(1, round(held_out * len(h))))])
    options = {"l2": l2, "steps": checks.whole("steps", steps, 1, 2**31), "lr": lr, "seed": seed}
    weight, bias = _trained(h[train], labels[train], int(labels.max()) + 1, **options)
    majority = np.bincount(labels[train]).argmax()
    control = None
    if groups is not None:
        groups = _classes("groups", groups, len(h))
        random_labels = rng.permutation(labels)[np.unique(groups, return_inverse=True)[1] % len(labels)]  # (N,)
        W, b = _trained(h[train], random_labels[train], int(labels.max()) + 1, **options)
        control = _accuracy(W, b, h[test], random_labels[test])
    return LinearProbe(
        weight,
        bias,
        _accuracy(weight, bias, h[test], labels[test]),
        float((labels[test] == majority).mean()),
        control,
        _accuracy(weight, bias, h[train], labels[train]),
    )


def _classes(name: str, values, N: int) -> np.ndarray:
    return checks.ids(name, np.asarray(values), 2**31, (N,), "(N,)")


def _trained(h, labels, classes: int, *, l2: float, steps: int, lr: float, seed: int):
    mean, deviation = h.mean(axis=0, dtype=np.float64), h.std(axis=0, dtype=np.float64) + 1e-8  # (D,) each
    x = ((h - mean) / deviation).astype(np.float32)  # (N, D)
    layer = layers.Linear(h.shape[1], classes, seed=seed)
    layer.weight.value[...] = 0
    layer.bias.value[...] = 0
    adam = optimizers.Adam(layer.parameters, lr=lr)
    for _ in range(steps):
        logits, saved = layer.forward(x)  # (N, C)
        _, saved_loss = cross_entropy.forward(logits, labels)
        layer.backward(cross_entropy.backward(1.0, saved_loss), saved)
        layer.weight.accumulate(np.float32(l2) * layer.weight.value)
        adam.step()
    weight = layer.weight.value / deviation  # (C, D)
    return weight, layer.bias.value - weight @ mean


def _accuracy(weight, bias, h, labels) -> float:
    return float(((h @ weight.T + bias).argmax(axis=1) == labels).mean())
