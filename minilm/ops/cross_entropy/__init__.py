"""Cross-entropy of logits and target classes, fused with its gradient. Formulas: `minilm.ops.cross_entropy.spec`."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.cross_entropy.spec import REDUCTIONS, Saved
from minilm.typing import Array, Ids, Scalar

__all__ = ["Saved", "backward", "forward"]


def forward(
    logits: Array,
    targets: Ids,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    gradient: bool = True,
) -> tuple[Scalar, Saved]:
    """Cross-entropy of the softmax of the last axis, in nats.

    .. math:: loss_n = -\\sum_v q_{n,v} \\log p_{n,v}, \\qquad p_n = \\mathrm{softmax}(logits_n)

    with q the smoothed and weighted target distribution; see `minilm.ops.cross_entropy.spec`.

    Parameters
    ----------
    logits : ndarray, shape (..., V), float32 or float64
        Unnormalised log-probabilities. The classes are the last axis, not the second as in PyTorch.
    targets : ndarray of integers, shape (...)
        Each in [0, V), or `ignore_index`.
    weight : ndarray, shape (V,), optional
        A weight for each class.
    ignore_index : int
        Rows with this target count for nothing: no loss, no gradient, no part in the mean.
    label_smoothing : float
        In [0, 1]: how much of the target distribution is spread evenly over all classes.
    reduction : {"mean", "sum", "none"}
        Mean is over the rows that are not ignored, by the weights of their targets; NaN if there are none.
    gradient : bool
        False for evaluation: `backward` cannot follow, and nothing of the logits' size is written.

    Returns
    -------
    loss : float32 or float64 scalar, or ndarray of shape (...) where reduction is "none"
        Summed over rows in float64.
    saved : Saved
        For `backward`.

    Raises
    ------
    TypeError
        If dtypes do not fit.
    ValueError
        If shapes do not fit, a target is out of range (its position is named), or an option is none of its choices.
    """
    logits = checks.non_empty("logits", checks.floating("logits", logits), "(..., V)")
    V = logits.shape[-1]
    ignore_index = checks.whole("ignore_index", ignore_index, -(2**63), 2**63)
    targets = checks.ids("targets", targets, V, logits.shape[:-1], "(...)", ignore_index)
    if weight is not None:
        weight = checks.floating("weight", weight, (V,), logits.dtype, "(V,)")
    options = {
        "ignore_index": ignore_index,
        "label_smoothing": checks.number("label_smoothing", label_smoothing, 0, 1),
        "reduction": checks.option("reduction", reduction, REDUCTIONS),
        "gradient": checks.flag("gradient", gradient),
    }
    return call(__name__, "forward", logits, targets, weight, **options)


def backward(dloss: float | Array, saved: Saved) -> Array:
    """Gradient of `forward`.

    Parameters
    ----------
    dloss : float, or ndarray of shape (...) where reduction is "none"
        Gradient by the loss: 1, where the loss is all there is.
    saved : Saved
        From `forward`.

    Returns
    -------
    dlogits : ndarray, shape (..., V)
        For a `dloss` of exactly 1 a read-only view of `saved.dlogits`, which costs nothing: it lives as long as `saved`
        does, and cannot be written, so that `saved` stays as it is.

    Raises
    ------
    TypeError, ValueError
        If `dloss` does not fit the loss, or `forward` was called with ``gradient=False``.
    """
    if saved.dlogits is None:
        raise ValueError("saved holds no gradient: forward was called with gradient=False")
    if saved.reduction == "none":
        dloss = checks.floating("dloss", dloss, saved.dlogits.shape[:-1], saved.dlogits.dtype, "(...)")
        return call(__name__, "backward", dloss, saved)
    on_gpu = devices.on_gpu(saved.dlogits)
    if on_gpu and devices.on_gpu(dloss):  # a number that stays there
        dloss = checks.floating("dloss", dloss, (), saved.dlogits.dtype)
        return call(__name__, "backward", dloss, saved)
    dloss = _number(dloss)
    if dloss == 1:
        view = saved.dlogits.view()  # (..., V)
        if not on_gpu:  # CuPy's arrays have no such flag
            view.flags.writeable = False
        return view
    dloss = devices.array_module(saved.dlogits).full((), dloss, saved.dlogits.dtype)  # (); made there, not copied there
    return call(__name__, "backward", dloss, saved)


def _number(dloss) -> float:
    """A Python or NumPy number, or an array without axes, as a float; NaN is let through."""
    if isinstance(dloss, np.ndarray) and dloss.ndim == 0 and dloss.dtype in checks.FLOATS:
        dloss = dloss[()]
    if isinstance(dloss, (bool, np.bool_)) or not isinstance(dloss, (int, float, np.integer, np.floating)):
        raise TypeError(f"dloss must be a number, got {checks.describe(dloss)}")
    return float(dloss)


def __dir__() -> list[str]:
    return sorted(__all__)
