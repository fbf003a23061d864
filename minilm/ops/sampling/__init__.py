"""The next token of every text, drawn from its logits. Definition: `minilm.ops.sampling.spec`.

``sampling.forward(logits, key)``; there is no backward.
"""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.sampling.spec import MOST, Drawn
from minilm.random import Key
from minilm.typing import Array

__all__ = ["Drawn", "checked_options", "forward"]


def forward(logits: Array, key: Key, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Drawn:
    """Draw one token a row.

    .. math:: id = \\min \\{ v : \\sum_{w \\le v} e_w > u \\sum_w e_w \\}, \\qquad e_w = \\exp((x_w - \\max x) / \\tau)

    Parameters
    ----------
    logits : ndarray, shape (B, V), float32 or float64
        -inf rules a token out.
    key : Key
        ``Key(seed, step)``: row b is drawn with number b of that key.
    temperature : float
        τ, at least 0; 0 takes the largest logit.
    top_k : int, optional
        Draw from the k largest logits only.
    top_p : float, optional
        Draw from the nucleus only, of what `top_k` leaves.

    Returns
    -------
    Drawn
        ``ids`` (B,) of int64, and the ``probability`` (B,) of each. A row whose largest logit is not finite gives -1 and NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    logits = checks.non_empty("logits", checks.floating("logits", logits, (None, None), None, "(B, V)"), "(B, V)")
    if logits.shape[1] > MOST:
        raise ValueError(f"logits must have at most {MOST} columns, got shape {logits.shape}")
    return call(__name__, "forward", logits, checks.random_key(key), *checked_options(temperature, top_k, top_p))


def checked_options(
    temperature: float, top_k: int | None = None, top_p: float | None = None
) -> tuple[float, int | None, float | None]:
    """The options, or TypeError or ValueError that names the one that is out of range."""
    temperature = checks.number("temperature", temperature, 0, math.inf, high_open=True)
    top_k = None if top_k is None else checks.whole("top_k", top_k, 1, 2**31)
    top_p = None if top_p is None else checks.number("top_p", top_p, 0, 1, low_open=True)
    return temperature, top_k, top_p


def __dir__() -> list[str]:
    return sorted(__all__)
