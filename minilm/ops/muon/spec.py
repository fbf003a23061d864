"""Muon: one update of a matrix, in place, by its momentum made orthogonal.

===============  ==========  =====================================================
array            shape       meaning
===============  ==========  =====================================================
param            (O, I)      a weight matrix
grad             (O, I)      gradients
momentum_buffer  (O, I)      running mean of gradients
===============  ==========  =====================================================

Definition. With learning rate η, momentum μ, weight decay λ, and momentum_buffer = 0 before the first step::

    g = scale grad
    momentum_buffer = μ momentum_buffer + (1 - μ) g
    G = μ momentum_buffer + (1 - μ) g                         with Nesterov's momentum, else momentum_buffer
    param = param - η λ param - η r orthogonal(G)
    r = 0.2 sqrt(max(O, I))                                   "match_rms_adamw", or
    r = sqrt(max(1, O / I))                                   "original"

orthogonal(G) is near U Vᵀ, where G = U S Vᵀ is the decomposition by singular values: of all matrices whose singular values are
at most 1 it has the largest product with G, so it is the steepest step where a step is as long as its largest singular value. A
gradient is mostly of low rank; made orthogonal, the rare directions count as much as the common ones. r makes a step as large as
one of Adam's, whose numbers have a root mean square of about 0.2, so that one η serves both; or leaves it alone.

It is computed by `steps` of an iteration of Newton and Schulz, products of matrices alone, with (a, b, c) = `coefficients`::

    X = G / max(‖G‖, ε)                   ‖G‖, the root of the sum of squares, bounds the singular values
    X = a X + (b A + c A²) X,             A = X Xᵀ          Xᵀ X from the right where O > I: the smaller of the two

An iteration turns each singular value s into a s + b s³ + c s⁵ and leaves U and V as they are. The usual coefficients were chosen
for the slope a at 0: after five iterations almost all singular values lie between 0.7 and 1.2, which is as good as 1 here.

Muon is for the matrices inside of a network. Embeddings, the output layer, biases and gains stay with Adam: see
`minilm.optimizers.Muon`.

An infinite parameter does not decay. ``scale`` is the factor of gradient clipping (`minilm.ops.clip`), and ``clear`` zeroes the
gradient.

No derivative: this is the optimizer.

Sources: K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024, kellerjordan.github.io/posts/muon;
J. Liu et al., Muon is scalable for LLM training, arXiv:2502.16982 (the decay, and the size of a step).
"""

from __future__ import annotations

import math

COEFFICIENTS = (3.4445, -4.775, 2.0315)
SIZES = ("match_rms_adamw", "original")


def step_size(size: str, O: int, I: int) -> float:
    """r: what a step is multiplied by."""
    return 0.2 * math.sqrt(max(O, I)) if size == "match_rms_adamw" else math.sqrt(max(1, O / I))
