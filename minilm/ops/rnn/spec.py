"""The simple recurrent layer over a whole sequence, and one step of it: formulas, shapes, and what each saves.

==========  =============  =====================================================
array       shape          meaning
==========  =============  =====================================================
x           (T, B, D)      inputs, time first
h0          (B, H)         hidden state before the first step
W_ih        (H, D)         input weights
W_hh        (H, H)         recurrent weights
b_ih, b_hh  (H,)           biases; only their sum matters, both are kept as PyTorch has them
lengths     (B,)           steps of each row, or None: all of T
y           (T, B, H)      hidden states after each step; zero beyond a row's length
h_n         (B, H)         hidden state after each row's last step
h           (T + 1, B, H)  all states, the initial one included; `minilm.ops.recurrence` says in what order
==========  =============  =====================================================

Forward. With h' the state before a step, and f = tanh or f = relu (``nonlinearity``)::

    a    = W_ih x[t] + b_ih + W_hh h' + b_hh
    h[t] = f(a)                                      y[t] = h[t]

With ``reverse`` the steps run from the last to the first. A row of length L skips the steps t >= L: its state stays.

Backward. Let dh be the gradient with respect to the state after a step, from later steps only (at first dh_n). Last step first::

    dh += dy[t]
    da  = dh f'(a)                                   tanh': 1 - h[t]²        relu': 1 where h[t] > 0, else 0
    dh' = W_hhᵀ da                                   handed to the step before

and, since every step uses the same weights, their gradients are sums over all steps and rows::

    dx[t, b] = W_ihᵀ da[t, b]    dW_ih = sum da[t, b] x[t, b]ᵀ    dW_hh = sum da[t, b] h'[t, b]ᵀ    db_ih = db_hh = sum da[t, b]

In a step that a row skips, da = 0, and dh passes through unchanged.

Saved: x and h, of which both derivatives are functions, W_ih and W_hh for the products, lengths, direction and f.

The cell is one step: x (B, D), h0 (B, H) to h (B, H).

Source: J. L. Elman, Finding structure in time, Cognitive Science 14 (1990), 179-211; backward through time: P. J. Werbos,
Backpropagation through time: what it does and how to do it, Proceedings of the IEEE 78 (1990), 1550-1560.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = 1
KINDS = ("tanh", "relu")


class Output(NamedTuple):
    """What forward returns."""

    y: np.ndarray  # (T, B, H)
    h_n: np.ndarray  # (B, H)


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray  # (T, B, D)
    h: np.ndarray  # (T + 1, B, H)
    W_ih: np.ndarray  # (H, D)
    W_hh: np.ndarray  # (H, H)
    lengths: np.ndarray | None  # (B,)
    reverse: bool
    nonlinearity: str


class CellSaved(NamedTuple):
    """What cell_backward needs."""

    x: np.ndarray  # (B, D)
    h0: np.ndarray  # (B, H)
    h: np.ndarray  # (B, H)
    W_ih: np.ndarray  # (H, D)
    W_hh: np.ndarray  # (H, H)
    nonlinearity: str
