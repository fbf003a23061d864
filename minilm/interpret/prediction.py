"""F, the one number of a prediction that is explained, and its gradient by the logits z (V,).

::

    log-probability        F = log softmax(z)[answer]         ∂F/∂z_k = [k = answer] - softmax(z)[k]
    logit                  F = z[answer]                      ∂F/∂z_k = [k = answer]
    with a foil            F = z[answer] - z[foil]            ∂F/∂z_k = [k = answer] - [k = foil]

The last is log p(answer) - log p(foil), too: the sum over the vocabulary cancels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.surprisal import log_probabilities
from minilm.typing import Array

__all__ = ["OUTPUTS", "Saved", "backward", "forward"]

OUTPUTS = ("log_probability", "logit")


class Saved(NamedTuple):
    """What backward needs."""

    logits: np.ndarray  # (n, V)
    log_p: np.ndarray | None  # (n, V) of a log-probability
    answers: ArrayLike  # (n,)
    foils: ArrayLike | None  # (n,)


def forward(
    logits: Array, answers: ArrayLike, foils: ArrayLike | None = None, *, output: str = "log_probability"
) -> tuple[np.ndarray, Saved]:
    """F of n predictions.

    Parameters
    ----------
    logits : ndarray, shape (n, V)
    answers : int or ndarray of integers, shape (n,)
        The tokens whose prediction is explained.
    foils : int or ndarray of integers, shape (n,), optional
        Why the answer and not this token.
    output : {"log_probability", "logit"}
        What F is without foils.

    Returns
    -------
    F : ndarray of float64, shape (n,)
    saved : Saved
    """
    rows = np.arange(len(logits))  # (n,)
    if foils is not None:
        F = logits[rows, answers].astype(np.float64) - logits[rows, foils]  # (n,)
        return F, Saved(logits, None, answers, foils)
    if output == "logit":
        return logits[rows, answers].astype(np.float64), Saved(logits, None, answers, None)
    log_p = log_probabilities(logits)  # (n, V)
    return log_p[rows, answers], Saved(logits, log_p, answers, None)


def backward(saved: Saved) -> np.ndarray:
    """dlogits (n, V), the gradient of the sum of F."""
    logits, log_p, answers, foils = saved
    rows = np.arange(len(logits))  # (n,)
    dlogits = np.zeros_like(logits) if log_p is None else -np.exp(log_p).astype(logits.dtype)  # (n, V)
    dlogits[rows, answers] += 1
    if foils is not None:
        dlogits[rows, foils] -= 1
    return dlogits
