"""Scaled dot-product attention of several heads: what it is, its gradient, and what it saves.

==========  ===============  =========================================================
array       shape            meaning
==========  ===============  =========================================================
query       (B, Tq, H, K)    what each position asks for; K is the width of a head
key         (B, Tk, G, K)    what each position is found by; G divides H
value       (B, Tk, G, Kv)   what it then gives
key_mask    (B, Tk)          True where a key may be attended, or None: all may
P           (B, H, Tq, Tk)   weights; never stored, unless requested
logsumexp   (B, H, Tq)       logarithm of the sum of each row of exp(S)
y           (B, Tq, H, Kv)   outputs
==========  ===============  =========================================================

The heads are laid out as a projection to H K numbers leaves them, so nothing is transposed before or after. Of the G heads of
keys and values each serves H / G heads of queries, one after the other: head h reads head h // (H / G). G = H is multi-head
attention, G = 1 multi-query attention, and what lies between is grouped-query attention.

Forward, for every batch row and head of queries; i counts queries, j keys::

    S[i, j] = scale sum_k query[i, k] key[j, k]        where query i sees key j,  else -inf
    P[i, j] = exp(S[i, j] - logsumexp[i])              logsumexp[i] = log sum_j exp(S[i, j])
    y[i, c] = sum_j P[i, j] Z[i, j] value[j, c]

Z is dropout's factor: 1 without dropout, else 0 or 1 / (1 - p), from random bits that are a function of `rng` and of the
element's place in (B, H, Tq, Tk), as in `minilm.ops.dropout`. What a query sees::

    causal           j <= i + Tk - Tq                          aligned at the end: the last query sees all keys
    causal, band     i + Tk - Tq - band < j <= i + Tk - Tq     the last `band` of those
    band             |i - j| < band
    key_mask         in addition, key_mask[j] is True; keys and values that it hides may be any numbers, NaN too

With a softcap the scores stay between -softcap and softcap, and those that are much smaller hardly change::

    S[i, j] = softcap tanh(scale sum_k query[i, k] key[j, k] / softcap)

A row that sees nothing, or whose scores are all -inf, has logsumexp -inf, weights of zero and an output of zero, and passes no
gradient on.

Backward. dvalue is the gradient of a product. Of the weights, ∂P[i, j]/∂S[i, u] = P[i, j] ([u = j] - P[i, u]), as for any
softmax. With dP[i, j] = Z[i, j] sum_c dy[i, c] value[j, c]::

    dS[i, u] = sum_j dP[i, j] P[i, j] ([u = j] - P[i, u]) = P[i, u] (dP[i, u] - D[i]),      D[i] = sum_j P[i, j] dP[i, j]

D sums over all keys, but needs no pass over them, since the sum over j is the one that gave y::

    D[i] = sum_c dy[i, c] sum_j P[i, j] Z[i, j] value[j, c] = sum_c dy[i, c] y[i, c]

    dquery[i, k] = scale sum_j dS[i, j] key[j, k]
    dkey[j, k]   = scale sum_i dS[i, j] query[i, k]
    dvalue[j, c] = sum_i P[i, j] Z[i, j] dy[i, c]

The derivative of softcap tanh(s / softcap) by s is 1 - tanh²(s / softcap), so that with a softcap
dS[i, u] (1 - (S[i, u] / softcap)²) stands in the place of dS[i, u] in dquery and dkey. A head of keys and values that several
heads of queries read has the sum of their gradients::

    dkey[j, k] of head g = sum over the heads h with h // (H / G) = g of dkey[j, k] by head h, and dvalue likewise

Saved: the inputs, y for D, and logsumexp, by which a tile of P is computed again from a tile of S: nothing of size Tq Tk.
A forward over tiles of keys never holds a whole row. It keeps the largest score m so far, the sum l of exp(S - m) and the
sum o of exp(S - m) value; at a tile with a larger score m' it first rescales them to l exp(m - m') and o exp(m - m'), then adds
the tile's. At the end y = o / l and logsumexp = m + log l.

Sources: A. Vaswani et al., Attention is all you need, NIPS 2017; M. Milakov, N. Gimelshein, Online normalizer calculation for
softmax, arXiv:1805.02867; T. Dao, D. Y. Fu, S. Ermon, A. Rudra, C. Ré, FlashAttention: fast and memory-efficient exact attention
with IO-awareness, NeurIPS 2022; R. Child, S. Gray, A. Radford, I. Sutskever, Generating long sequences with sparse
transformers, arXiv:1904.10509 (the band); N. Shazeer, Fast transformer decoding: one write-head is all you need,
arXiv:1911.02150; J. Ainslie et al., GQA: training generalized multi-query transformer models from multi-head checkpoints,
EMNLP 2023; Gemma Team, Gemma 2, arXiv:2408.00118 (the softcap).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.random import Key


def into(out, *gradients):
    """The gradients, or `out` where they are to be written."""
    if out is None:
        return gradients
    for place, gradient in zip(out, gradients, strict=True):
        place[...] = gradient
    return out


class Output(NamedTuple):
    """What forward returns with ``return_weights``."""

    y: np.ndarray  # (B, Tq, H, Kv)
    weights: np.ndarray  # (B, H, Tq, Tk) P, before dropout


class Saved(NamedTuple):
    """What backward needs."""

    query: np.ndarray  # (B, Tq, H, K)
    key: np.ndarray  # (B, Tk, G, K)
    value: np.ndarray  # (B, Tk, G, Kv)
    y: np.ndarray  # (B, Tq, H, Kv)
    logsumexp: np.ndarray  # (B, H, Tq)
    key_mask: np.ndarray | None  # (B, Tk)
    causal: bool
    band: int | None
    scale: float
    softcap: float | None
    dropout: float
    rng: Key | None
