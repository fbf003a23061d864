"""Muon. Formulas: `minilm.ops.muon.spec`."""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import update
from minilm.ops.muon.spec import COEFFICIENTS, SIZES
from minilm.typing import Array

__all__ = ["SIZES", "step"]


def step(
    param: Array,
    grad: Array,
    momentum_buffer: Array,
    *,
    step: int | Array,
    lr: float | Array,
    momentum: float = 0.95,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    size: str = "match_rms_adamw",
    steps: int = 5,
    coefficients: tuple[float, float, float] = COEFFICIENTS,
    eps: float = 1e-7,
    scale: float | Array = 1.0,
    clear: bool = False,
) -> None:
    """One update of a matrix, in place.

    .. math:: b \\leftarrow \\mu b + (1 - \\mu) g, \\qquad param \\leftarrow param - \\eta\\,r\\,\\mathrm{orthogonal}(b)

    Parameters
    ----------
    param : ndarray, shape (O, I), float32 or float64
        A weight matrix; written.
    grad : ndarray, of param's shape and dtype
        Gradients; written only if `clear`.
    momentum_buffer : ndarray, of param's shape and dtype
        Running mean of gradients; written. What it holds before step 1 does not matter.
    step : int, or int64 array of one number on the device
        Number of this update, from 1.
    lr : float, or array of one number on the device, of its dtype
        Learning rate.
    momentum : float
        In [0, 1).
    nesterov : bool
        Nesterov's momentum.
    weight_decay : float
        Decoupled: this multiple of the parameters, times the learning rate, is taken from them.
    size : {"match_rms_adamw", "original"}
        What a step is multiplied by; see `minilm.ops.muon.spec`.
    steps : int
        Iterations that make the matrix orthogonal.
    coefficients : tuple of three floats
        Of an iteration.
    eps : float
        Least norm that the matrix is divided by.
    scale : float
        The gradient is multiplied by it first: see `minilm.ops.clip`.
    clear : bool
        Zero the gradient.

    Raises
    ------
    TypeError, ValueError
        If an array has not param's shape and dtype or cannot be written, or a number is out of range.
    """
    param = checks.in_place("param", param, (None, None), letters="(O, I)")
    clear = checks.flag("clear", clear)
    grad = (checks.in_place if clear else checks.floating)("grad", grad, param.shape, param.dtype)
    momentum_buffer = checks.in_place("momentum_buffer", momentum_buffer, param.shape, param.dtype)
    if not isinstance(coefficients, (tuple, list)) or len(coefficients) != 3:
        raise TypeError(f"coefficients must be three numbers, got {checks.describe(coefficients)}")
    options = {
        "step": checks.counted("step", step, 1, 2**63),
        "lr": checks.rate("lr", lr, param),
        "momentum": checks.number("momentum", momentum, 0, 1, high_open=True),
        "nesterov": checks.flag("nesterov", nesterov),
        "weight_decay": checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True),
        "size": checks.option("size", size, SIZES),
        "steps": checks.whole("steps", steps, 0, 100),
        "coefficients": tuple(checks.number("coefficients", each, -math.inf, math.inf) for each in coefficients),
        "eps": checks.number("eps", eps, 0, math.inf, low_open=True, high_open=True),
        "scale": checks.factor("scale", scale, param),
        "clear": clear,
    }
    update(__name__, "step", param, grad, momentum_buffer, **options)


def __dir__() -> list[str]:
    return sorted(__all__)
