"""RMSprop. Formulas: `minilm.ops.rmsprop.spec`."""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import update
from minilm.typing import Array

__all__ = ["step"]


def step(
    param: Array,
    grad: Array,
    v: Array,
    mean: Array | None = None,
    momentum_buffer: Array | None = None,
    *,
    step: int | Array,
    lr: float | Array,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    scale: float | Array = 1.0,
    clear: bool = False,
) -> None:
    """One update of the parameters, in place.

    .. math:: v \\leftarrow \\alpha v + (1 - \\alpha) g^2, \\quad param \\leftarrow param - \\eta \\frac{g}{\\sqrt{v} + \\epsilon}

    Parameters
    ----------
    param : ndarray, any shape, float32 or float64
        Parameters; written.
    grad : ndarray, of param's shape and dtype
        Gradients; written only if `clear`.
    v : ndarray, of param's shape and dtype
        Running mean of squares; written. What it and the next two hold before step 1 does not matter.
    mean : ndarray, of param's shape and dtype, optional
        Running mean of gradients; written. With it the update is centred.
    momentum_buffer : ndarray, of param's shape and dtype, optional
        Written. None exactly where `momentum` is 0.
    step : int, or int64 array of one number on the device
        Number of this update, from 1.
    lr : float, or array of one number on the device, of its dtype
        Learning rate.
    alpha : float
        In [0, 1).
    eps : float
        At least 0.
    momentum : float
        In [0, 1].
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
        "alpha": checks.number("alpha", alpha, 0, 1, high_open=True),
        "eps": checks.number("eps", eps, 0, math.inf, high_open=True),
        "momentum": checks.number("momentum", momentum, 0, 1),
        "weight_decay": checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True),
        "scale": checks.factor("scale", scale, param),
        "clear": clear,
    }
    if (momentum_buffer is None) != (momentum == 0):
        raise ValueError(f"momentum_buffer must be None exactly where momentum is 0, got momentum={momentum!r}")
    v = checks.in_place("v", v, param.shape, param.dtype)
    state = {"mean": mean, "momentum_buffer": momentum_buffer}
    state = {name: None if x is None else checks.in_place(name, x, param.shape, param.dtype) for name, x in state.items()}
    update(__name__, "step", param, grad, v, *state.values(), **options)


def __dir__() -> list[str]:
    return sorted(__all__)
