"""Attention maps of a Transformer, and attention rollout.

A map says where one head of one layer looks. But from the second layer on a position holds a mixture of tokens already, so a
weight on it is no weight on the token that stands there. Rollout follows the mixtures down to the tokens. Each layer's heads
are averaged, and its residual connection, which keeps a position's own vector, counts as much as what attention brings::

    A_l = (1 - r) mean over heads of P_l + r I                     (T, T), r = 1/2
    R_l = A_l R_{l-1},      R_0 = I                                rows sum to 1, as those of every A_l do

Row i of R_L says how position i of the last layer is mixed from the tokens, as far as attention alone moves them.

References: S. Abnar, W. Zuidema, Quantifying attention flow in transformers, ACL 2020; S. Jain, B. C. Wallace, Attention is not
explanation, NAACL 2019 (what a map does not say).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, probe_of
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["attention_weights", "rollout"]


def attention_weights(model: Explained, ids: ArrayLike, tokenizer: Tokenizer | None = None) -> np.ndarray:
    """The weights of every head of every layer.

    Parameters
    ----------
    model : GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    ndarray, shape (L, H, T, T)
        ``[l, h, i, j]``: how much position i takes of position j. Rows sum to 1.

    Raises
    ------
    ValueError
        For a model without attention.
    """
    probe = probe_of(model, tokenizer)
    if not probe.attends:
        raise ValueError(probe.lacks["attention"])
    return probe.attention(probe.checked(ids))


def rollout(weights: np.ndarray, *, residual: float = 0.5, layers: bool = False) -> np.ndarray:
    """Attention rollout.

    Parameters
    ----------
    weights : ndarray, shape (L, H, T, T)
        From `attention_weights`: no number negative, rows that sum to 1.
    residual : float
        r: what part of a position's vector comes through the residual connection, in [0, 1].
    layers : bool
        True to have the R of each layer.

    Returns
    -------
    ndarray, shape (T, T), or (L, T, T) with `layers`
        In float64.

    Raises
    ------
    ValueError
        If `weights` has another shape, a negative number, or rows that do not sum to 1.
    """
    weights = np.asarray(weights)
    checks.check_shape("weights", weights, (None, None, None, None), "(L, H, T, T)")
    L, H, T, S = weights.shape
    if L == 0 or H == 0 or T != S:
        raise ValueError(f"weights must have shape (L, H, T, T) with a layer and a head, got {weights.shape}")
    residual = checks.number("residual", residual, 0, 1)
    mean = weights.mean(axis=1, dtype=np.float64)  # (L, T, T)
    sums = mean.sum(axis=2)  # (L, T)
    if mean.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise ValueError("weights must have rows that sum to 1, and no negative number")
    mean /= sums[..., None]  # float32's rounding would add up over layers
    A = (1 - residual) * mean + residual * np.eye(T)  # (L, T, T)
    R, products = np.eye(T), []  # (T, T)
    for each in A:
        R = each @ R
        products.append(R)
    return np.stack(products) if layers else R
