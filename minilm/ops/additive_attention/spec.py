"""Additive attention, of recurrent encoders and decoders: what it is, its gradient, and what it saves.

==========  =============  =========================================================
array       shape          meaning
==========  =============  =========================================================
query       (B, Tq, A)     the decoder's states, projected: W_q s, bias included
key         (B, Tk, A)     the encoder's states, projected: W_k h
v           (A,)           weights of the score
value       (B, Tk, D)     what is averaged: the encoder's states as a rule
key_mask    (B, Tk)        True where a key may be attended, or None: all may
weights     (B, Tq, Tk)    how much each query takes of each value: the alignment
y           (B, Tq, D)     outputs: the contexts
==========  =============  =========================================================

The projections are `minilm.ops.linear`; the encoder's is computed once for all steps of the decoder.

Forward, for every batch row::

    t[i, j, a]    = tanh(query[i, a] + key[j, a])
    S[i, j]       = sum_a v[a] t[i, j, a]                          where key_mask[j] is True, else -inf
    weights[i, j] = exp(S[i, j]) / sum_u exp(S[i, u])              zeros for a row of nothing but -inf
    y[i, d]       = sum_j weights[i, j] value[j, d]

Backward. The gradient of the weights is that of any softmax (see `minilm.ops.attention.spec`), with
D[i] = sum_j weights[i, j] dweights[i, j] = sum_d dy[i, d] y[i, d]. Then, since tanh' = 1 - tanh²::

    dweights[i, j] = sum_d dy[i, d] value[j, d]
    dS[i, j]       = weights[i, j] (dweights[i, j] - D[i])
    du[i, j, a]    = dS[i, j] v[a] (1 - t[i, j, a]²)               by the argument of tanh
    dquery[i, a]   = sum_j du[i, j, a]
    dkey[j, a]     = sum_i du[i, j, a]
    dv[a]          = sum_b sum_i sum_j dS[i, j] t[i, j, a]
    dvalue[j, d]   = sum_i weights[i, j] dy[i, d]

Keys and values that key_mask hides may be any numbers, as those of padding, NaN too: they are left out, or are zeros.

Saved: the inputs, the weights, and y. t, which is A times as large as the weights, is computed again.

Luong's multiplicative scores need no op of their own. S = query · key ("dot") is `minilm.ops.attention` with one head,
``attention.forward(query[:, :, None], key[:, :, None], value[:, :, None], scale=1.0)``, and S = query · W key ("general") is
the same after `minilm.ops.linear` of the keys, whose gradient then is that of W.

Sources: D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate, ICLR 2015; M.-T.
Luong, H. Pham, C. D. Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    query: np.ndarray  # (B, Tq, A)
    key: np.ndarray  # (B, Tk, A)
    v: np.ndarray  # (A,)
    value: np.ndarray  # (B, Tk, D)
    weights: np.ndarray  # (B, Tq, Tk)
    y: np.ndarray  # (B, Tq, D)
    key_mask: np.ndarray | None  # (B, Tk)
