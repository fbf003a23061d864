"""The next token of every text, drawn from its logits. The definition stands in `minilm.ops.sampling.spec`.

``sampling.forward(logits, key)``; there is no backward.
"""

from __future__ import annotations

import math

from minilm.ops import checks
from minilm.ops.contract import call
from minilm.ops.philox.spec import checked
from minilm.ops.sampling.spec import MOST, Drawn

__all__ = ["Drawn", "forward"]


def forward(logits, key, temperature=1.0, top_k=None, top_p=None):
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
    temperature = checks.number("temperature", temperature, 0, math.inf, high_open=True)
    if top_k is not None:
        top_k = checks.whole("top_k", top_k, 1, 2**31)
    if top_p is not None:
        top_p = checks.number("top_p", top_p, 0, 1, low_open=True)
    return call(__name__, "forward", logits, checked(key), temperature, top_k, top_p)
