"""One token of each text as one kernel: its row of the embedding, all recurrent layers, the logits (`minilm.models.rnn_lm`).

Of a small model the kernels of a token take less time than the calls of Python between them. These are the same kernels, called
by a compiled function, so the bits are those of the layers::

    x       = embedding[id]                               (E,)
    h, ...  = step_units(x, h', ...)                      (H,)     for each layer, x being the h of the one below
    logits  = W h + b                                     (V,)

``layers`` is a tuple with (W_ih, W_hh, b_ih, b_hh) of each layer, states are (L, B, H).
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.gru import cpu as gru
from minilm.ops.lstm import cpu as lstm
from minilm.ops.recurrent_row import UNITS
from minilm.ops.rnn import cpu as rnn
from minilm.ops.row import LANES32, LANES64, multiply_transposed


@jit
def _logits(h, W, b, logits):
    lanes = LANES32 if W.itemsize == 4 else LANES64
    multiply_transposed(0, -(-len(W) // lanes), h, W, logits)
    for v in range(len(W)):
        logits[v] += b[v]


@jit
def lstm_token(ids, embedding, layers, W, b, h0, c0, h, c, logits):
    H = h.shape[2]
    gates = np.empty(4 * H, h.dtype)
    for n in range(len(ids)):
        x = embedding[ids[n]]
        for layer in range(len(layers)):
            before = h0[layer, n], c0[layer, n]
            W_ih, W_hh, b_ih, b_hh = layers[layer]
            lstm.step_units(0, -(-H // UNITS), x, *before, W_ih, W_hh, b_ih, b_hh, gates, c[layer, n], h[layer, n])
            x = h[layer, n]
        _logits(x, W, b, logits[n])


@jit
def gru_token(ids, embedding, layers, W, b, h0, h, logits):
    H = h.shape[2]
    gates, inner = np.empty(3 * H, h.dtype), np.empty(H, h.dtype)
    for n in range(len(ids)):
        x = embedding[ids[n]]
        for layer in range(len(layers)):
            W_ih, W_hh, b_ih, b_hh = layers[layer]
            gru.step_units(0, -(-H // UNITS), x, h0[layer, n], W_ih, W_hh, b_ih, b_hh, gates, inner, h[layer, n])
            x = h[layer, n]
        _logits(x, W, b, logits[n])


@jit
def rnn_token(ids, embedding, layers, W, b, h0, h, logits, relu):
    H = h.shape[2]
    for n in range(len(ids)):
        x = embedding[ids[n]]
        for layer in range(len(layers)):
            W_ih, W_hh, b_ih, b_hh = layers[layer]
            rnn.step_units(0, -(-H // UNITS), x, h0[layer, n], W_ih, W_hh, b_ih, b_hh, relu, h[layer, n])
            x = h[layer, n]
        _logits(x, W, b, logits[n])


TOKEN = {"lstm": lstm_token, "gru": gru_token, "rnn": rnn_token}
