"""Stochastic gradient descent with momentum. Formulas: `minilm.ops.sgd.spec`."""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import update
from minilm.typing import Array

__all__ = ["step"]


def step(
    param: Array,
    grad: Array,
    momentum_buffer: Array | None = None,
    *,
    step: int | Array,
    lr: float | Array,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    scale: float | Array = 1.0,
    clear: bool = False,
) -> None:
    """One update of the parameters, in place.

    .. math:: b \\leftarrow \\mu b + (1 - \\delta) g, \\qquad param \\leftarrow param - \\eta b

    Parameters
    ----------
    param : ndarray, any shape, float32 or float64
        Parameters; written.
    grad : ndarray, of param's shape and dtype
        Gradients; written only if `clear`.
    momentum_buffer : ndarray, of param's shape and dtype
        Written; what it holds before step 1 does not matter. None exactly where `momentum` is 0.
    step : int, or int64 array of one number on the device
        Number of this update, from 1.
    lr : float, or array of one number on the device, of its dtype
        Learning rate.
    momentum, dampening : float
        In [0, 1]; see `minilm.ops.sgd.spec`.
    nesterov : bool
        Nesterov's momentum; wants a momentum and no dampening.
    weight_decay : float
        This multiple of the parameters is added to the gradient.
    scale : float
        The gradient is multiplied by it first: see `minilm.ops.clip`.
    clear : bool
        Zero the gradient in the same pass.

    Raises
    ------
    TypeError, ValueError
        If an array has not param's shape and dtype or cannot be written, or a number is out of range.
    """
    param = checks.in_place("param", param)
    clear = checks.flag("clear", clear)
    grad = (checks.in_place if clear else checks.floating)("grad", grad, param.shape, param.dtype)
    options = {
        "step": checks.counted("step", step, 1, 2**63),
        "lr": checks.rate("lr", lr, param),
        "momentum": checks.number("momentum", momentum, 0, 1),
        "dampening": checks.number("dampening", dampening, 0, 1),
        "nesterov": checks.flag("nesterov", nesterov),
        "weight_decay": checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True),
        "scale": checks.factor("scale", scale, param),
        "clear": clear,
    }
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(f"nesterov wants a momentum and no dampening, got momentum={momentum!r}, dampening={dampening!r}")
    if (momentum_buffer is None) != (momentum == 0):
        raise ValueError(f"momentum_buffer must be None exactly where momentum is 0, got momentum={momentum!r}")
    if momentum_buffer is not None:
        momentum_buffer = checks.in_place("momentum_buffer", momentum_buffer, param.shape, param.dtype)
    update(__name__, "step", param, grad, momentum_buffer, **options)


def __dir__() -> list[str]:
    return sorted(__all__)
