"""Adam and AdamW. Formulas: `minilm.ops.adam.spec`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minilm.ops import checks
from minilm.ops.contract import update
from minilm.typing import Array

__all__ = ["step"]


def step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: int | Array,
    lr: float | Sequence[float] | Array,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float | Sequence[float] = 0.0,
    decoupled: bool = False,
    scale: float | Array = 1.0,
    clear: bool = False,
    ends: Sequence[int] | None = None,
) -> None:
    """One update of the parameters, in place.

    .. math:: param \\leftarrow param - \\eta \\, \\frac{m / (1 - \\beta_1^t)}{\\sqrt{v / (1 - \\beta_2^t)} + \\epsilon}

    Parameters
    ----------
    param : ndarray, any shape, float32 or float64
        Parameters; written.
    grad : ndarray, of param's shape and dtype
        Gradients; written only if `clear`.
    m, v : ndarray, of param's shape and dtype
        Running means of the gradients and of their squares; zero before step 1; written.
    v_max : ndarray, of param's shape and dtype, optional
        The largest v so far, zero before step 1; written. With it the update is AMSGrad's.
    step : int, or int64 array of one number on the device
        Number t of this update, from 1.
    lr : float, or array of one number on the device, of its dtype
        Learning rate η; with `ends` a list or tuple of floats, one for each group.
    beta1, beta2 : float
        In [0, 1).
    eps : float
        Added to the root; at least 0.
    weight_decay : float
        λ; with `ends` a list or tuple of floats, one for each group.
    decoupled : bool
        False for Adam, whose weight decay is a part of the gradient; True for AdamW.
    scale : float
        The gradient is multiplied by it first: see `minilm.ops.clip`.
    clear : bool
        Zero the gradient in the same pass.
    ends : list or tuple of G int, optional
        Where each of G groups of neighbours ends in param, which is (N,) then: from above 0 up to N, each beyond the one before.
        On a GPU each group is a launch of its own.

    Raises
    ------
    TypeError, ValueError
        If an array has not param's shape and dtype or cannot be written, or a number is out of range.
    """
    param = checks.in_place("param", param)
    clear = checks.flag("clear", clear)
    grad = (checks.in_place if clear else checks.floating)("grad", grad, param.shape, param.dtype)
    m = checks.in_place("m", m, param.shape, param.dtype)
    v = checks.in_place("v", v, param.shape, param.dtype)
    if v_max is not None:
        v_max = checks.in_place("v_max", v_max, param.shape, param.dtype)
    if ends is None:
        lr = checks.rate("lr", lr, param)
        weight_decay = checks.number("weight_decay", weight_decay, 0, math.inf, high_open=True)
    else:
        if not _rise(ends) or param.shape != (ends[-1],):
            raise ValueError(f"ends must rise from above 0 to the size of param (N,), got {ends} for {checks.describe(param)}")
        lr, weight_decay = _of_groups("lr", lr, len(ends)), _of_groups("weight_decay", weight_decay, len(ends))
    options = {
        "lr": lr,
        "weight_decay": weight_decay,
        "step": checks.counted("step", step, 1, 2**63),
        "beta1": checks.number("beta1", beta1, 0, 1, high_open=True),
        "beta2": checks.number("beta2", beta2, 0, 1, high_open=True),
        "eps": checks.number("eps", eps, 0, math.inf, high_open=True),
        "decoupled": checks.flag("decoupled", decoupled),
        "scale": checks.factor("scale", scale, param),
        "clear": clear,
        "ends": ends,
    }
    update(__name__, "step", param, grad, m, v, v_max, **options)


def _rise(ends: Sequence[int]) -> bool:
    """Whether these are whole numbers that rise from above 0, one at least."""
    whole = isinstance(ends, (tuple, list)) and all(isinstance(end, int) for end in ends)
    return whole and len(ends) > 0 and list(ends) == sorted({end for end in ends if end > 0})


def _of_groups(name: str, values: Sequence[float], groups: int) -> list[float]:
    """A number for each group, each finite and at least 0."""
    if not isinstance(values, (tuple, list)) or len(values) != groups:
        must = f"{name} must be a list or tuple of {groups} numbers, one for each of the ends"
        raise ValueError(f"{must}, got {checks.describe(values)}")
    return [checks.number(name, value, 0, math.inf, high_open=True) for value in values]


def __dir__() -> list[str]:
    return sorted(__all__)
