"""One token of Llama and its relatives as one kernel, as `minilm.quantized.token_step` is for GPT-2.

::

    x       = embed_tokens[id]                                shared out by columns
    u       = input_layernorm(x)                              every thread for itself
    q, k, v = u W_qᵀ, u W_kᵀ, u W_vᵀ                          shared out by outputs
    q, k    = rotated(q_norm(q)), rotated(k_norm(k))          shared out by heads; k and v go into the cache
    y       = attention(q, k, v of the cache)                 shared out by heads of queries
    x       = x + y W_oᵀ                                      shared out by outputs
    u       = post_attention_layernorm(x)                     every thread for itself
    h       = f(u W_gateᵀ) * (u W_upᵀ)                        shared out by outputs
    x       = x + h W_downᵀ                                   shared out by outputs

with biases and normalisations of heads where the model has them. As there, each number has the order of sums that it has in the
layers, so it is the same bit for bit.
"""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.compiled.waiting import arrive, meet, wait
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.gated.cpu import _geglu, _swiglu
from minilm.ops.memory import address, numbers
from minilm.ops.rms_norm.cpu import normalise
from minilm.ops.rotary.cpu import turn_head
from minilm.quantized.llama_rooms import Sizes, own_of, team_of
from minilm.quantized.token_products import BIAS, fetch_cached, fetch_share, head_product, multiply, nothing_dropped, prepare

SILU, GELU_TANH = range(2)  # of the gate
GATES = {"silu": SILU, "gelu_tanh": GELU_TANH}
# columns of the table of addresses: a row for each block; a product has weights, scales (0 without) and bias (0 without)
INPUT_NORM, Q_PROJ, K_PROJ, V_PROJ, O_PROJ, Q_NORM, K_NORM, POST_NORM, GATE, UP, DOWN = 0, 1, 4, 7, 10, 13, 14, 15, 16, 19, 22
WINDOW, KEYS, VALUES = 25, 26, 27
_REAL, _ONE = np.float32(0), np.float32(1)


@jit(inline="always")
def _task(s, window, scale):
    """Causal attention of one new token of each text, to the last `window` positions; 0 for all."""
    end, reach = s.Tk - 1, window if window > 0 else FAR
    see = end - reach + 1, end
    return Task(1, s.Tk, s.H, s.H // s.G, s.K, s.K, see, s.mask, np.float32(scale), _REAL, nothing_dropped())


@jit(counted=False)
def _normalised(x, weight, offset, eps, own, y):
    # y (N, D) of x (N, D), by the address of a normalisation's weight
    D = x.shape[1]
    gamma, stored = own.gamma[:D], numbers(weight, D, _REAL)
    for d in range(D):
        gamma[d] = stored[d] + np.float32(offset)
    for n in range(len(x)):
        normalise(x[n], gamma, eps, y[n])


@jit(counted=False)
def _multiplied(part, number, tag, a, weights, s, own, out):
    """out (B, O) = a Wᵀ + b, of which this part computes the columns [first, last) that it returns; a was prepared."""
    O = out.shape[1]
    first, last = multiply(tag, part, number, a, weights, O, s.group, None, own, out)
    if weights[BIAS] != 0:
        bias = numbers(weights[BIAS], O, _REAL)
        for n in range(len(out)):
            for o in range(first, last):
                out[n, o] += bias[o]
    return first, last


@jit(counted=False)
def _add_product(part, number, tag, a, weights, s, own, team):
    # this part's columns of x += a Wᵀ + b
    prepare(tag, a, s.group, own)
    first, last = _multiplied(part, number, tag, a, weights, s, own, team.raw)
    for n in range(s.B):
        for o in range(first, last):
            team.x[n, o] += team.raw[n, o]


@jit(counted=False)
def _head(x, norm, c, s, sizes, eps, own, y):
    # y (K,) = a head x (1, K), normalised where it is, and rotated
    row = x
    if norm != 0:
        _normalised(x, norm, sizes.offset, eps, own, own.head)
        row = own.head
    turn_head(row[0], c, s, False, _ONE, y)


@jit(counted=False)
def _rotate(part, number, block, cos, sin, positions, s, eps, own, team):
    """Rotate this part's heads of queries and of keys, and put those keys and their values into the cache."""
    H, K, each = s.H, s.K, s.H + s.G
    for n in range(part * s.B * each // number, (part + 1) * s.B * each // number):
        b, h = n // each, n % each
        c, sine = cos[positions[b]], sin[positions[b]]
        if h < H:
            x, y = team.q[b, h * K : (h + 1) * K], team.rotated[b, h * K : (h + 1) * K]
            _head(x.reshape(1, K), block[Q_NORM], c, sine, s, eps, own, y)
            continue
        g = h - H
        x, v, offset = team.k[b, g * K : (g + 1) * K], team.v[b, g * K : (g + 1) * K], b * s.text + (s.Tk - 1) * s.row + g * K * 4
        key, value = numbers(block[KEYS] + offset, K, _REAL), numbers(block[VALUES] + offset, K, _REAL)
        _head(x.reshape(1, K), block[K_NORM], c, sine, s, eps, own, key)
        for k in range(K):
            value[k] = v[k]


@jit(counted=False)
def _attend(part, number, block, s, scale, team):
    """What this part's heads of queries see."""
    task, row = _task(s, block[WINDOW], scale), s.K * 4
    query, cached = (address(team.rotated), s.H * row, s.H * row, row), (s.text, s.row, row)
    start, stop = part * s.B * s.H // number, (part + 1) * s.B * s.H // number
    few_forward(start, stop, query, (block[KEYS], *cached), (block[VALUES], *cached), team.y, task, team.logsumexp)


@jit(counted=False)
def _gated(part, number, tag, u, block, s, own, team):
    """This part's columns of hidden (B, F) = f(u W_gateᵀ) * (u W_upᵀ)."""
    prepare(tag, u, s.group, own)
    first, last = _multiplied(part, number, tag, u, block[GATE:], s, own, team.gate)
    _multiplied(part, number, tag, u, block[UP:], s, own, team.up)
    for n in range(s.B):
        gate, up, hidden = team.gate[n, first:last], team.up[n, first:last], team.hidden[n, first:last]
        if s.gate == SILU:
            _swiglu(0, len(gate), gate, up, hidden)
        else:
            _geglu(0, len(gate), gate, up, hidden)


@jit(counted=False)
def _embed(part, number, ids, s, factor, x):
    """This part's columns of x (B, D): each text's new token."""
    first, last = part * s.D // number, (part + 1) * s.D // number
    for b in range(s.B):
        token = numbers(s.tokens + ids[b] * s.D * 4, s.D, _REAL)
        for d in range(first, last):
            x[b, d] = token[d] * np.float32(factor)


@jit(counted=False)
def llama_step(part, number, tag, reached, table, final, sizes, reals, shared, rooms, ids, positions, cos, sin, logits):
    # ids, positions (B,), cos, sin (P, K/2) -> logits (B, V); addresses of the blocks: table (L, 28), of norm and lm_head:
    # final (4,); numbers in the order of Sizes, reals: eps, the scale of scores, what embeddings are multiplied by;
    # shared (shared_size,), rooms (number, own_size) float32; tag: a number of the dtype in which weights are stored
    n, turn = sizes, np.int64(1)  # of a literal 1 Numba would compile `meet` apart
    s = Sizes(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14])
    eps, scale, own, team = reals[0], reals[1], own_of(rooms[part], s), team_of(shared, s)
    u, x, y = own.u, team.x, team.y.reshape(s.B, s.H * s.K)
    _embed(part, number, ids, s, reals[2], x)
    meet(reached, part, number, turn)
    for layer in range(len(table)):
        block, further = table[layer], table[min(layer + 1, len(table) - 1)]
        _normalised(x, block[INPUT_NORM], s.offset, eps, own, u)
        prepare(tag, u, s.group, own)
        _multiplied(part, number, tag, u, block[Q_PROJ:], s, own, team.q)
        _multiplied(part, number, tag, u, block[K_PROJ:], s, own, team.k)
        _multiplied(part, number, tag, u, block[V_PROJ:], s, own, team.v)
        arrive(reached, part, turn + 1)
        fetch_cached(part, number, block[KEYS], block[VALUES], s.G, s, s.K)
        wait(reached, number, turn + 1)
        _rotate(part, number, block, cos, sin, positions, s, eps, own, team)
        meet(reached, part, number, turn + 2)
        _attend(part, number, block, s, scale, team)
        arrive(reached, part, turn + 3)
        fetch_share(tag, part, number, block[O_PROJ:], s.D, s.H * s.K, s.group)
        wait(reached, number, turn + 3)
        _add_product(part, number, tag, y, block[O_PROJ:], s, own, team)
        arrive(reached, part, turn + 4)
        fetch_share(tag, part, number, block[GATE:], s.F, s.D, s.group)
        fetch_share(tag, part, number, block[UP:], s.F, s.D, s.group)
        wait(reached, number, turn + 4)
        _normalised(x, block[POST_NORM], s.offset, eps, own, u)
        _gated(part, number, tag, u, block, s, own, team)
        arrive(reached, part, turn + 5)
        fetch_share(tag, part, number, block[DOWN:], s.D, s.F, s.group)
        wait(reached, number, turn + 5)
        _add_product(part, number, tag, team.hidden, block[DOWN:], s, own, team)
        arrive(reached, part, turn + 6)
        fetch_share(tag, part, number, further[Q_PROJ:], s.H * s.K, s.D, s.group)
        fetch_share(tag, part, number, further[K_PROJ:], s.G * s.K, s.D, s.group)
        fetch_share(tag, part, number, further[V_PROJ:], s.G * s.K, s.D, s.group)
        wait(reached, number, turn + 6)
        turn += 6
    _normalised(x, final[0], s.offset, eps, own, u)
    head_product(tag, part, number, u, final[1:], s.V, s.group, None, own, logits)
