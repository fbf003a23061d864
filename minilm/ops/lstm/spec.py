"""Long short-term memory over a whole sequence, and one step of it: formulas, shapes, and what each saves.

==========  =============  =====================================================
array       shape          meaning
==========  =============  =====================================================
x           (T, B, D)      inputs, time first
h0, c0      (B, H)         hidden state and cell before the first step
W_ih        (4H, D)        input weights, the gates i f g o below one another
W_hh        (4H, H)        recurrent weights, likewise
b_ih, b_hh  (4H,)          biases; only their sum matters, both are kept as PyTorch has them
lengths     (B,)           steps of each row, or None: all of T
y           (T, B, H)      hidden states after each step; zero beyond a row's length
h_n, c_n    (B, H)         hidden state and cell after each row's last step
h, c        (T + 1, B, H)  all states, the initial ones included; `minilm.ops.recurrence` says in what order
gates       (T, B, 4H)     i f g o of each step, after their sigmoid or tanh
==========  =============  =====================================================

Forward. With h', c' the states before a step and σ the logistic sigmoid::

    a = W_ih x[t] + b_ih + W_hh h' + b_hh            (4H,), split into a_i a_f a_g a_o
    i = σ(a_i)     f = σ(a_f)     g = tanh(a_g)     o = σ(a_o)
    c[t] = f c' + i g
    h[t] = o tanh(c[t])                              y[t] = h[t]

With ``reverse`` the steps run from the last to the first. A row of length L skips the steps t >= L: its state stays.

Backward. Let dh, dc be the gradients with respect to the states after a step, from later steps only (at first dh_n, dc_n).
Everything is elementwise but the two products, so step by step, last step first::

    dh   += dy[t]
    do    = dh tanh(c[t])
    dc   += dh o (1 - tanh²(c[t]))
    di    = dc g        df = dc c'        dg = dc i
    da_i  = di i (1 - i)        da_f = df f (1 - f)                        σ' = σ (1 - σ)
    da_g  = dg (1 - g²)         da_o = do o (1 - o)                        tanh' = 1 - tanh²
    da    = (da_i, da_f, da_g, da_o)
    dh'   = W_hhᵀ da                                                       handed to the step before
    dc'   = dc f

and, since every step uses the same weights, their gradients are sums over all steps and rows::

    dx[t, b] = W_ihᵀ da[t, b]    dW_ih = sum da[t, b] x[t, b]ᵀ    dW_hh = sum da[t, b] h'[t, b]ᵀ    db_ih = db_hh = sum da[t, b]

In a step that a row skips, da = 0, and dh, dc pass through unchanged.

Saved: x and h for the weights' gradients, c and gates for the elementwise part, W_ih and W_hh for the products, lengths and
the direction. tanh(c) is computed again rather than kept: at T B H numbers it costs less than its memory.

The cell is one step: x (B, D), h0, c0 (B, H) to h, c (B, H).

Sources: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997), 1735-1780; F. A. Gers,
J. Schmidhuber, F. Cummins, Learning to forget: continual prediction with LSTM, Neural Computation 12 (2000), 2451-2471
(the gate f); order of the gates as in PyTorch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = 4


class Output(NamedTuple):
    """What forward returns."""

    y: np.ndarray  # (T, B, H)
    h_n: np.ndarray  # (B, H)
    c_n: np.ndarray  # (B, H)


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray  # (T, B, D)
    h: np.ndarray  # (T + 1, B, H)
    c: np.ndarray  # (T + 1, B, H)
    gates: np.ndarray  # (T, B, 4H)
    W_ih: np.ndarray  # (4H, D)
    W_hh: np.ndarray  # (4H, H)
    lengths: np.ndarray | None  # (B,)
    reverse: bool


class CellOutput(NamedTuple):
    """What cell_forward returns."""

    h: np.ndarray  # (B, H)
    c: np.ndarray  # (B, H)


class CellSaved(NamedTuple):
    """What cell_backward needs."""

    x: np.ndarray  # (B, D)
    h0: np.ndarray  # (B, H)
    c0: np.ndarray  # (B, H)
    c: np.ndarray  # (B, H)
    gates: np.ndarray  # (B, 4H)
    W_ih: np.ndarray  # (4H, D)
    W_hh: np.ndarray  # (4H, H)
