"""Gated activations, SwiGLU and GEGLU: what they are, their gradients, and what they save.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
a         (N,)        the gate's argument; all axes are folded into N
b         (N,)        what is gated, of the same shape
y         (N,)        outputs
========  ==========  =====================================================

Forward::

    swiglu    y = a σ(a) b                                           silu(a) b, Llama's
    geglu     y = a (1 + tanh u) / 2 b,  u = √(2/π) (a + 0.044715 a³)      gelu_tanh(a) b, Gemma's

In the position-wise part of a network a and b are two maps of one input, and a third map reads y. So how much of a number passes
depends on the input, and not on that number alone as with an activation.

Backward. Elementwise, by the rule of a product, with f = silu or gelu_tanh, whose derivative stands in `minilm.ops.activations`::

    da = dy b f'(a)
    db = dy f(a)

In one pass over memory: as two ops the gate's output would be written and read twice more.

Saved: a and b.

Source: N. Shazeer, GLU variants improve transformer, arXiv:2002.05202.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What backward needs."""

    a: np.ndarray  # (...)
    b: np.ndarray  # (...)
