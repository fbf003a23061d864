"""Tokens of a recurrent encoder-decoder's target as one kernel (`minilm.models.recurrent_decoder` has the kinds of decoders).

Of a small model the kernels of a token take less time than the calls of Python between them. For each target::

    x       = [embedding[id]; p; h' or c]                 (E, and H of each)   p: peeky; h': input feeding; c: attending first
    s, ...  = rnn(x, s', ...)                             (H,)     each layer, x being the s of the one below
    c       = attention(s, memory)                        (H,)     of s' where attention comes first
    h       = tanh(W_c [s; c; p] + b_c)                   (H,)     or the three themselves
    logits  = W P h + b                                   (V,)     P, where there is one
    id      = argmax logits                               where tokens are chosen

and on with the token that was chosen, until a target ends. The bits are those of the layers: products of a row are chains over k
that do not know what stands beside it, and the one by the state goes on where that by the input ended, as over a sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops import simd
from minilm.ops.additive_attention.cpu import _forward as additive
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.gru import cpu as gru
from minilm.ops.largest import largest_of
from minilm.ops.lstm import cpu as lstm
from minilm.ops.memory import address
from minilm.ops.row import LANES32, LANES64, _multiply_block, multiply_transposed
from minilm.ops.sums import copy
from minilm.ops.vectors import multiply_add


class Decoder(NamedTuple):
    """The weights; an array of what the model does not have is empty."""

    embedding: np.ndarray  # (V, E) of the target
    layers: tuple  # (W_ih, W_hh, b_ih, b_hh) of each
    query: np.ndarray  # (A, H) of additive attention
    query_bias: np.ndarray  # (A,)
    v: np.ndarray  # (A,)
    combine: np.ndarray  # (H, 2H or 3H) W_c
    combine_bias: np.ndarray  # (H,)
    projection: np.ndarray  # (E, width of h) P
    output: np.ndarray  # (V, .)
    output_bias: np.ndarray  # (V,)


class Source(NamedTuple):
    """What every token reads of the sources; an array of what the model does not read is empty."""

    peek: np.ndarray  # (B, H) p
    keys: np.ndarray  # (B, S, A)
    memory: np.ndarray  # (B, S, H)
    mask: np.ndarray  # (B, S) bool


# --- products of a row ----------------------------------------------------------------------------------------------------


@jit
def _multiplied(a, W, out):
    """out (N,) = a (K,) Wᵀ."""
    multiply_transposed(0, -(-len(W) // (LANES32 if W.itemsize == 4 else LANES64)), a, W, out)


@jit
def _multiplied_on(a, W, out):
    """out (N,) += a (K,) Wᵀ, each number one chain over k that goes on from what it was."""
    N, K = W.shape
    lanes = LANES32 if W.itemsize == 4 else LANES64
    filled, whole = N - N % lanes, K - K % lanes
    for n in range(0, filled, lanes):
        for k in range(0, whole, lanes):
            _multiply_block(a, k, W, n, out, n)
    for n in range(N):
        for k in range(whole if n < filled else 0, K):
            out[n] = multiply_add(a[k], W[n, k], out[n])


@jit
def _affine(a, W, b, out):
    """out (N,) = W a + b, b (N,), or empty for none."""
    _multiplied(a, W, out)
    for n in range(len(b)):
        out[n] += b[n]


# --- the parts of a token -------------------------------------------------------------------------------------------------


@jit
def _lstm(n, x, layers, state):
    """All layers of row n, whose state (L, B, H) twice is written over: s (H,) of the last."""
    h, c = state
    H = h.shape[2]
    gates, bias = np.empty(4 * H, h.dtype), np.empty(4 * H, h.dtype)
    for layer in range(len(layers)):
        W_ih, W_hh, b_ih, b_hh = layers[layer]
        for j in range(4 * H):
            bias[j] = b_ih[j] + b_hh[j]
        _multiplied(x, W_ih, gates)
        _multiplied_on(h[layer, n], W_hh, gates)
        lstm._gates(gates, bias, c[layer, n], c[layer, n], h[layer, n])
        x = h[layer, n]
    return x


@jit
def _gru(n, x, layers, state):
    """The same of a GRU, whose state is one array."""
    h = state[0]
    H = h.shape[2]
    gates, inner, bias = np.empty(3 * H, h.dtype), np.empty(H, h.dtype), np.empty(4 * H, h.dtype)
    for layer in range(len(layers)):
        W_ih, W_hh, b_ih, b_hh = layers[layer]
        for j in range(2 * H):
            bias[j] = b_ih[j] + b_hh[j]
        copy(b_ih[2 * H :], bias[2 * H : 3 * H])
        copy(b_hh[2 * H :], bias[3 * H :])
        _multiplied(x, W_ih, gates)
        _multiplied_on(h[layer, n], W_hh[: 2 * H], gates[: 2 * H])
        _multiplied(h[layer, n], W_hh[2 * H :], inner)
        gru._gates(gates, inner, bias, h[layer, n], h[layer, n])
        x = h[layer, n]
    return x


@jit
def _one_head(array):
    """What `minilm.ops.memory.place` says of an array (B, T, K) as one of (B, T, 1, K)."""
    return address(array), array.strides[0], array.strides[1], array.strides[1]


@jit
def _attended(n, s, decoder, source, query, weights, context):
    """context[n] (H,) = what s (H,) takes of source n, see `minilm.layers.alignment`; query (B, A), weights (B, S): room."""
    keys, memory, mask = source.keys, source.memory, source.mask
    (B, S, A), H = keys.shape, memory.shape[2]
    if len(decoder.v):
        _affine(s, decoder.query, decoder.query_bias, query[n])
        additive(n, n + 1, query, keys, decoder.v, memory, mask, weights, context)
        return
    real = context.dtype.type
    drop = np.zeros(5, np.uint32), np.uint32(0), real(1)
    hidden = address(mask) if len(mask) else 0
    task = Task(1, S, 1, 1, A, H, (1 - FAR, FAR - 1), hidden, real(1), real(0), drop)
    copy(s, query[n])
    heads = _one_head(query.reshape(B, 1, A)), _one_head(keys), _one_head(memory)
    few_forward(n, n + 1, heads[0], heads[1], heads[2], context.reshape(B, 1, 1, H), task, np.empty((B, 1, 1), context.dtype))


@jit
def _put(part, out, at):
    """out[at : at + N] = part (N,); returns where the next part goes."""
    copy(part, out[at : at + len(part)])
    return at + len(part)


def writer(recurrent):
    """The kernel for a recurrent part: `_lstm` or `_gru`."""

    @jit
    def write(ids, decoder, attend_first, source, state, fed, end, written, logits):
        # ids (B,), state a tuple of (L, B, H), fed (B, H) or (B, 0), both written over -> logits (B, V) of the last token. Of
        # several tokens, those of written (n, B) are chosen, or fewer where a target ends
        peek, (B, V), chosen, h0 = source.peek, logits.shape, ids.copy(), state[0]
        E, H, A = decoder.embedding.shape[1], h0.shape[2], source.keys.shape[2]
        attends, feeds = source.memory.shape[1] > 0, fed.shape[1] > 0
        query, weights = np.empty((B, A), logits.dtype), np.empty((B, source.keys.shape[1]), logits.dtype)
        context = np.empty((B, H), logits.dtype)
        x = np.empty(E + peek.shape[1] + H * (attend_first or feeds), logits.dtype)
        both = np.empty(H * (1 + attends) + peek.shape[1], logits.dtype)
        h = np.empty(len(decoder.combine) if len(decoder.combine) else len(both), logits.dtype)
        projected = np.empty(len(decoder.projection), logits.dtype)
        for token in range(max(1, len(written))):
            for n in range(B):
                at = _put(peek[n], x, _put(decoder.embedding[chosen[n]], x, 0))
                if attend_first:
                    _attended(n, h0[len(h0) - 1, n], decoder, source, query, weights, context)
                    _put(context[n], x, at)
                _put(fed[n], x, at)
                s = recurrent(n, x, decoder.layers, state)
                if attends and not attend_first:
                    _attended(n, s, decoder, source, query, weights, context)
                _put(peek[n], both, _put(context[n, : H * attends], both, _put(s, both, 0)))
                if len(decoder.combine):
                    _affine(both, decoder.combine, decoder.combine_bias, h)
                    for j in range(len(h)):
                        h[j] = simd.tanh(h[j])
                else:
                    copy(both, h)
                if feeds:
                    copy(h, fed[n])
                if len(projected):
                    _multiplied(h, decoder.projection, projected)
                    _affine(projected, decoder.output, decoder.output_bias, logits[n])
                else:
                    _affine(h, decoder.output, decoder.output_bias, logits[n])
            if len(written) == 0:
                return
            for n in range(B):
                chosen[n] = largest_of(logits[n], 0, V)
            copy(chosen, written[token])
            if (chosen == end).any():
                return

    return write


WRITE = {"lstm": writer(_lstm), "gru": writer(_gru)}
