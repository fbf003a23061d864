"""Lion. Formulas: `minilm.ops.lion.spec`."""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import update
from minilm.typing import Array

__all__ = ["step"]


def step(
    param: Array,
    grad: Array,
    m: Array,
    *,
    step: int | Array,
    lr: float | Array,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    scale: float | Array = 1.0,
    clear: bool = False,
) -> None:
    """One update of the parameters, in place.

    .. math:: param \\leftarrow param - \\eta (\\mathrm{sign}(\\beta_1 m + (1 - \\beta_1) g) + \\lambda\\,param)

    Parameters
    ----------
    param : ndarray, any shape, float32 or float64
        Parameters; written.
    grad : ndarray, of param's shape and dtype
        Gradients; written only if `clear`.
    m : ndarray, of param's shape and dtype
        Running mean of gradients; written. What it holds before step 1 does not matter.
    step : int, or int64 array of one number on the device
        Number of this update, from 1.
    lr : float, or array of one number on the device, of its dtype
        Learning rate.
    beta1, beta2 : float
        In [0, 1).
    weight_decay : float
        Decoupled: this multiple of the parameters, times the learning rate, is taken from them.
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
    m = checks.in_place("m", m, param.shape, param.dtype)
    options = {
        "step": checks.counted("step", step, 1, 2**63),
        "lr": checks.rate("lr", lr, param),
        "beta1": checks.number("beta1", beta1, 0, 1, high_open=True),
        "beta2": checks.number("beta2", beta2, 0, 1, high_open=True),
        "weight_decay": checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True),
        "scale": checks.factor("scale", scale, param),
        "clear": clear,
    }
    update(__name__, "step", param, grad, m, **options)


def __dir__() -> list[str]:
    return sorted(__all__)
