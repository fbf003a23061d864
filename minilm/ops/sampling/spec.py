"""Sampling: the next token of every text, drawn from its logits.

============  ==========  =====================================================
array         shape       meaning
============  ==========  =====================================================
logits        (B, V)      what a model gives for the next token of B texts
x             (B, V)      logits below the largest, over the temperature
e             (B, V)      exp(x); 0 for what is ruled out
u             (B,)        one random number a text, in [0, 1), of float64
ids           (B,)        the tokens drawn
probability   (B,)        of each drawn token, in the distribution that it was drawn from
============  ==========  =====================================================

Definition, for every row::

    x[v] = (logits[v] - max logits) / τ
    e[v] = exp(x[v])                                    0 for a token that is ruled out
    id   = the first v with sum_{w <= v} e[w] > u sum_w e[w]
    probability = e[id] / sum_w e[w]

top_k rules out all but the k largest x; top_p all but the nucleus: the fewest tokens, largest x first, whose e sum to more than
p (1 - 1e-12) sum_w e[w]. For τ = 0 the id is argmax logits, the first among equals, and its probability 1.

Among equal x the lower id ranks first. The 1e-12 is there so that probabilities 0.5 and 0.3 sum to p = 0.8, whatever
their exponentials round to. u is number b of the key's stream of float64, see `minilm.ops.philox.spec`: it depends neither on B
nor on the other rows.

All of it is float64, whatever the logits are: sums of 50,000 float32 probabilities are off by 1e-4. x is exact to one rounding
of each operation, so which tokens are the k largest is the same everywhere; the sums differ in their last bits from one
implementation to another, and so an id does only where u, or p, falls within some 1e-13 of the boundary between two tokens.

A row whose largest logit is NaN or infinite has no distribution: its id is -1 and its probability NaN. Nothing is raised, since
that would mean waiting for the device.

How to find the k largest, or the nucleus, without sorting V numbers: both are all x above a threshold, with some of those
equal to it. The interval that holds the threshold is cut into 1024 bins of equal width; weights (1 each, or e) are summed by bin;
the bin in which the target sum is reached is the next interval, and the smallest and largest x in it are its ends. When they
are equal, that is the threshold. As the ends fall into different bins, the interval holds fewer numbers every time; of random
numbers about a hundred times fewer, which makes two or three passes for a vocabulary of 50,257. The oracle sorts.

No derivative: an id is no differentiable function.

Source: A. Fan, M. Lewis, Y. Dauphin, Hierarchical neural story generation, ACL 2018 (top-k); A. Holtzman, J. Buys, L. Du,
M. Forbes, Y. Choi, The curious case of neural text degeneration, ICLR 2020 (top-p, the nucleus).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROUNDING = 1e-12  # of p
BINS = 1024
MOST = 2**23  # tokens of a vocabulary: their sums fit into whole numbers of 64 bits on the device


class Drawn(NamedTuple):
    """What `forward` returns."""

    ids: np.ndarray  # (B,) int64, -1 where the row has no distribution
    probability: np.ndarray  # (B,) of the logits' dtype
