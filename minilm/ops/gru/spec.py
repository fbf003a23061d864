"""Gated recurrent unit over a whole sequence, and one step of it: formulas, shapes, and what each saves.

==========  =============  =====================================================
array       shape          meaning
==========  =============  =====================================================
x           (T, B, D)      inputs, time first
h0          (B, H)         hidden state before the first step
W_ih        (3H, D)        input weights, the gates r z n below one another
W_hh        (3H, H)        recurrent weights, likewise
b_ih, b_hh  (3H,)          biases; those of n differ in place, see below
lengths     (B,)           steps of each row, or None: all of T
y           (T, B, H)      hidden states after each step; zero beyond a row's length
h_n         (B, H)         hidden state after each row's last step
h           (T + 1, B, H)  all states, the initial one included; `minilm.ops.recurrence` says in what order
gates       (T, B, 3H)     r z n of each step, after their sigmoid or tanh
inner       (T, B, H)      u of each step: what the reset gate multiplies
==========  =============  =====================================================

Forward. With h' the state before a step and σ the logistic sigmoid::

    r = σ(W_ir x[t] + b_ir + W_hr h' + b_hr)
    z = σ(W_iz x[t] + b_iz + W_hz h' + b_hz)
    u = W_hn h' + b_hn
    n = tanh(W_in x[t] + b_in + r u)
    h[t] = (1 - z) n + z h'                          y[t] = h[t]

The reset gate is applied after the product, as in PyTorch, cuDNN and Keras's ``reset_after=True``; Cho's paper has it before
(W_hn (r h')), which cannot be computed in one product with the others. With ``reverse`` the steps run from the last to the
first. A row of length L skips the steps t >= L: its state stays.

Backward. Let dh be the gradient with respect to the state after a step, from later steps only (at first dh_n). Last step first::

    dh   += dy[t]
    dz    = dh (h' - n)                              dn = dh (1 - z)
    da_n  = dn (1 - n²)                              by n's argument; tanh' = 1 - tanh²
    du    = da_n r                                   dr = da_n u
    da_r  = dr r (1 - r)                             da_z = dz z (1 - z)                 σ' = σ (1 - σ)
    dh'   = dh z + W_hrᵀ da_r + W_hzᵀ da_z + W_hnᵀ du

and, since every step uses the same weights, their gradients are sums over all steps and rows. With da = (da_r, da_z, da_n) on
the side of the input and dg = (da_r, da_z, du) on the side of the state::

    dx[t, b] = W_ihᵀ da[t, b]            dW_ih = sum da[t, b] x[t, b]ᵀ         db_ih = sum da[t, b]
                                         dW_hh = sum dg[t, b] h'[t, b]ᵀ        db_hh = sum dg[t, b]

In a step that a row skips, da = dg = 0, and dh passes through unchanged.

Saved: x and h for the weights' gradients, gates and inner for the elementwise part, W_ih and W_hh for the products, lengths
and the direction.

The cell is one step: x (B, D), h0 (B, H) to h (B, H).

Source: K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical machine translation,
EMNLP 2014; order of the gates and place of the reset gate as in PyTorch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = 3


class Output(NamedTuple):
    """What forward returns."""

    y: np.ndarray  # (T, B, H)
    h_n: np.ndarray  # (B, H)


class Saved(NamedTuple):
    """What backward needs."""

    x: np.ndarray  # (T, B, D)
    h: np.ndarray  # (T + 1, B, H)
    gates: np.ndarray  # (T, B, 3H)
    inner: np.ndarray  # (T, B, H)
    W_ih: np.ndarray  # (3H, D)
    W_hh: np.ndarray  # (3H, H)
    lengths: np.ndarray | None  # (B,)
    reverse: bool


class CellSaved(NamedTuple):
    """What cell_backward needs."""

    x: np.ndarray  # (B, D)
    h0: np.ndarray  # (B, H)
    gates: np.ndarray  # (B, 3H)
    inner: np.ndarray  # (B, H)
    W_ih: np.ndarray  # (3H, D)
    W_hh: np.ndarray  # (3H, H)
