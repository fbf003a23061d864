"""Linear-chain conditional random field: what it is, its gradient, what it saves, and the best sequence.

===========  ============  ============================================================
array        shape         meaning
===========  ============  ============================================================
emissions    (B, T, K)     score of each of K tags at each step, from a network
tags         (B, T)        the right ones
transitions  (K, K)        score of tag j after tag i: row i, column j
start, end   (K,)          scores of the first tag and of the last
lengths      (B,)          how many steps of each row count, or None: all
nll          (B,)          negative log-likelihood of the tags
alpha        (B, T, K)     log-probability of each tag by what stands up to it
===========  ============  ============================================================

Unlike a softmax at each step, it gives a probability to a whole sequence y = (y[0] ... y[L-1]), of a row with L steps::

    s(y)   = start[y[0]] + sum_t emissions[t, y[t]] + sum_t transitions[y[t-1], y[t]] + end[y[L-1]]
    p(y)   = exp(s(y)) / Z,       Z = sum over all K^L sequences y' of exp(s(y'))
    nll    = log Z - s(tags)

Forward. Z by the forward algorithm, in L K² steps. With A = transitions, e = emissions and LSE x = log sum exp x::

    u[0, j]     = start[j] + e[0, j]
    u[t, j]     = e[t, j] + LSE_i(alpha[t-1, i] + A[i, j])
    n[t]        = LSE_j u[t, j]
    alpha[t, j] = u[t, j] - n[t]
    n[L]        = LSE_j(alpha[L-1, j] + end[j])
    log Z       = sum_t n[t]

Normalised at each step, alpha is a log-distribution over tags, and numbers stay small however long the sequence is. The loss
has a second form, of terms that are not negative: each is -log of the probability of a tag given the one after it and all
emissions up to it. It loses less to rounding, since log Z and s are both large; with y = tags::

    w[t, i] = alpha[t-1, i] + A[i, y[t]]                  t = 1 ... L - 1
    w[L, i] = alpha[L-1, i] + end[i]
    nll     = sum_t (LSE_i w[t, i] - w[t, y[t-1]])        t = 1 ... L; the last LSE is n[L]

Backward. The gradient of log Z with respect to a score is the probability of the tag or transition scored: log Z depends on
e[t, j] as the logarithm of a sum of terms each of which either has the factor exp(e[t, j]) or has not, and the part of those that
have it is the probability p[t, j] that step t has tag j. Likewise for a transition and the probability q[t, i, j] that steps t-1
and t have tags i and j. Both come by a pass from the last step to the first. Given step t, the step before it depends on
nothing later, and its distribution is a softmax of what forward summed::

    p[L-1, j]    = softmax_j(alpha[L-1, j] + end[j])
    q[t, i, j]   = p[t, j] softmax_i(alpha[t-1, i] + A[i, j])
    p[t-1, i]    = sum_j q[t, i, j]

    demissions[t, j]    = dnll (p[t, j] - [tags[t] = j])
    r[t, i, j]          = [tags[t-1] = i, tags[t] = j]
    dtransitions[i, j]  = sum_b dnll sum_t (q[t, i, j] - r[t, i, j])
    dstart[j]           = sum_b demissions[0, j]
    dend[j]             = sum_b demissions[L-1, j]

This is the forward-backward algorithm in the form of a smoother: the usual one has beta[t, j] = log p[t, j] - alpha[t, j], and
logarithms throughout. Here the probabilities of a step add up to one but for rounding.

A score of -inf forbids its tag or transition: such sequences have the probability 0, and tags that are one of them have
nll = inf. LSE of nothing but -inf is -inf, and a softmax of nothing but -inf is 0, so that a tag that cannot be reached has
alpha = -inf, and its p and q are 0. Where no sequence at all is allowed, there is no distribution: nll = inf, and p and q,
which are sums over the sequences, are 0, which leaves the gradient of -s(tags).

Saved: the tags, transitions, end, the lengths, and alpha. No emission is needed.

The best sequence, by Viterbi's algorithm: LSE is replaced by max, and each max remembers where it was reached::

    v[0, j] = start[j] + e[0, j]
    v[t, j] = e[t, j] + max_i(v[t-1, i] + A[i, j]),        back[t, j] = the smallest i that reaches it

Its score is -inf where no sequence is allowed.

Sources: J. Lafferty, A. McCallum, F. Pereira, Conditional random fields: probabilistic models for segmenting and labeling
sequence data, ICML 2001; L. R. Rabiner, A tutorial on hidden Markov models, Proc. IEEE 77 (1989), for the scaling; G. D. Forney,
The Viterbi algorithm, Proc. IEEE 61 (1973); Z. Huang, W. Xu, K. Yu, Bidirectional LSTM-CRF models for sequence tagging, 2015.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    tags: np.ndarray  # (B, T)
    transitions: np.ndarray  # (K, K)
    end: np.ndarray  # (K,)
    lengths: np.ndarray | None  # (B,)
    alpha: np.ndarray  # (B, T, K); 0 beyond a row's length
