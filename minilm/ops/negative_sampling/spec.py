"""Negative sampling: the loss of word2vec, its gradient, what it saves, and training with it word by word.

=========  ==========  =====================================================
array      shape       meaning
=========  ==========  =====================================================
h          (N, D)      what predicts: the vector of a word, or the mean of those of its neighbours
W          (V, D)      output vectors, one for each word
targets    (N,)        the word that was there
negatives  (N, K)      words drawn at random, which were not
=========  ==========  =====================================================

Forward. The softmax over all V words is replaced by K + 1 yes-or-no questions: is this the word that was there? With σ the
logistic function::

    s[n, 0] = h[n] · W[targets[n]]                  s[n, k] = h[n] · W[negatives[n, k]]
    loss[n] = -log σ(s[n, 0]) - sum_k log σ(-s[n, k])
    loss    = mean or sum over n of loss[n]

A negative that happens to be the target is left out. The numbers are computed as softplus,
``-log σ(s) = max(-s, 0) + log(1 + e^-|s|)``, which neither overflows nor loses digits.

Backward. From (log σ)' = 1 - σ, with y = 1 for the target and 0 for a negative::

    g[n, k] = ∂loss/∂s[n, k] = (σ(s[n, k]) - y) / N                              without N for the sum; 0 where nothing counts
    dh[n]   = sum_k g[n, k] W[word(n, k)]
    dW[v]   = sum over {(n, k) : word(n, k) = v} of g[n, k] h[n]

Saved: h and W, the words, and g, which forward has at hand: backward needs no dot product again.

Training (`train`) batches no more than a word's window: each word is a step of gradient descent. A pass over sentences::

    word w is left out with probability 1 - keep[w]                subsampling: a frequent word teaches little each time
    around each word left, b = 1 .. window is drawn                dynamic windows: near words count more often
    skip-gram:  h = W_in[word]                    targets = neighbours up to b away, one after the other
    CBOW:       h = mean of W_in[neighbours]      target = word
    for each target, and for v = the target, then each of K negatives other than it:
        g = σ(h · W_out[v]) - y                                                     as for the sum: without 1/N
        dh += g W_out[v]        W_out[v] -= lr g h                                  W_out[v] moves before the next v is read
    W_in[word] -= lr dh         after all targets                                   CBOW: lr dh / C for each of C neighbours

The learning rate falls linearly with the words that have been read. At word i = 0 ... m - 1 of the m words left of a sentence of
n, before which `done` words of `total` were read, it is::

    lr + (lr_end - lr) min(1, (done + n (i + 1) / m) / total)

So h stays the same while a word predicts its neighbours; Mikolov's program moves W_in[word] after each of them. Questions on
different words then have nothing in common but the sum dh, and a processor asks several at once: none waits for the result of the
one before. Analogies come out as well as with a step for each neighbour.

Random numbers come from SplitMix64, seeded for every sentence by its number, so that results do not depend on how a corpus is
cut into calls; one thread does it all, so that they do not depend on a race either, unless a GPU is allowed several `streams`:
then each warp takes every n-th sentence, and updates vectors that others update at the same time (F. Niu, B. Recht, C. Ré, S.
J. Wright, Hogwild, NIPS 2011; here no step is lost, since they are added by atomics). Negatives are drawn by Walker's alias
method: a place i uniform in [0, V), which is kept with probability accept[i], else alias[i] is taken.

Sources: T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, Distributed representations of words and phrases and their
compositionality, NIPS 2013; Y. Goldberg, O. Levy, word2vec explained, 2014 (the derivation); O. İrsoy, A. Benton, K. Stratos,
Corrected CBOW performs as well as skip-gram, 2021 (the division by C, which Mikolov's program omits); S. Vigna, SplitMix64, 2015;
A. J. Walker, An efficient method for generating discrete random variables with general distributions, ACM TOMS 3 (1977).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REDUCTIONS = ("mean", "sum")
GOLDEN, MIX1, MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64


class Saved(NamedTuple):
    """What backward needs."""

    h: np.ndarray  # (N, D)
    W: np.ndarray  # (V, D)
    targets: np.ndarray  # (N,)
    negatives: np.ndarray  # (N, K)
    g: np.ndarray  # (N, K + 1)


class Task(NamedTuple):
    """What `train` needs beside the vectors and the sentences; the public function says what each is."""

    keep: np.ndarray  # (V,) float64
    accept: np.ndarray  # (V,) float64
    alias: np.ndarray  # (V,) int64
    cbow: bool
    window: int
    negatives: int
    lr: float
    lr_end: float
    seed: int
    first: int
    done: int
    total: int
    streams: int


class Trained(NamedTuple):
    """What `train` did."""

    loss: float  # the sum over all predictions, each before its step
    predictions: int
    words: int  # read, those that subsampling left out included
