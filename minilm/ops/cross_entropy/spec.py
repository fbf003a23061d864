"""Cross-entropy of logits and target classes, fused with its gradient: what it is, and what it saves.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
logits    (N, V)      one score a class; leading axes are folded into N rows
targets   (N,)        the class of each row, or `ignore_index`
weight    (V,)        a weight for each class, or None: all are 1
loss      () or (N,)  mean or sum over rows, or one number a row
========  ==========  =====================================================

Forward. With ε = label_smoothing, w = weight, t = targets[n], p = softmax(logits[n]), a row's target distribution is 1 - ε
for class t plus ε/V for every class; each part carries its class's weight::

    q[v]     = (1 - ε) w[t] [v = t] + (ε / V) w[v]
    loss[n]  = - sum_v q[v] log p[v]              0 where t = ignore_index
    log p[v] = z[v] - log sum_u exp(z[u]),        z = logits[n] - max(logits[n])

    sum      loss = sum_n loss[n]
    mean     loss = sum_n loss[n] / S,            S = sum of w[targets[n]] over the rows that are not ignored
    none     the loss[n]

S counts the weights of the targets alone, as in PyTorch. If every row is ignored, mean is 0/0 = NaN, also as in PyTorch.

Backward. ∂ log p[v] / ∂ logits[u] = [u = v] - p[u], hence::

    ∂loss[n]/∂logits[n, u] = - sum_v q[v] ([u = v] - p[u]) = Q p[u] - q[u],      Q = sum_v q[v]

(without weights and smoothing p[u] - [u = t]), divided by S for the mean and 0 for ignored rows. It needs what the loss
needs, so forward computes it while the row is in the cache, and backward only multiplies by dloss. With
``gradient=False``, as in evaluation, nothing of the logits' size is written.

Saved: dlogits, the gradient for dloss = 1 (for each row where reduction is "none"); for dloss = 1 backward returns
that very array, presented read-only, without a pass over it. Also the reduction. No logit is needed.

Sources: C. Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016 (label smoothing);
the conventions are those of torch.nn.CrossEntropyLoss, with classes along the last axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REDUCTIONS = ("mean", "sum", "none")


class Saved(NamedTuple):
    """What backward needs."""

    dlogits: np.ndarray | None  # (..., V); None where forward was called without a gradient
    reduction: str
