"""One token of a pre-norm transformer as one kernel: the blocks of `minilm.models.gpt`, the last normalisation and the logits.

A token of GPT-2 is 49 products, each of which reads its weights once; with int8 all of them take 3 ms, and the calls of Python
between them as long. Here each thread goes through all blocks, with its share of the outputs of every product and of the heads,
and waits for the others where it wants what they have written (`minilm.compiled.waiting`). While it waits it fetches what it will
read next, weights or keys and values, so that the memory does not stand still::

    x   = wte[id] + wpe[position]                     shared out by columns
    u   = ln_1(x)                                     every thread for itself
    qkv = u W_qkvᵀ + b                                shared out by outputs
    y   = attention(q, k, v of the cache and new)     shared out by heads
    x   = x + y W_oᵀ + b                              shared out by outputs
    v   = gelu(ln_2(x) W_fcᵀ + b)                     shared out by outputs
    x   = x + v W_projᵀ + b                           shared out by outputs

The parts are the kernels of the ops, and each number of a result has the order of sums that it has there, so neither threads nor
the texts beside change a bit of it. Weights are float32 as they lie, or packed (`minilm.quantized.cpu`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.compiled.waiting import arrive, meet, wait
from minilm.ops.activations.cpu import gelu_erf, gelu_tanh, relu
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.layer_norm.cpu import normalise_rows
from minilm.ops.memory import address, numbers
from minilm.quantized.token_products import BIAS, fetch_cached, fetch_share, head_product, product

GELU_TANH, GELU_ERF, RELU = range(3)  # what follows a product
FOLLOWS = {"gelu_tanh": GELU_TANH, "gelu_erf": GELU_ERF, "relu": RELU}
# columns of the table of addresses: a row for each block
LN_1, C_ATTN, C_PROJ, LN_2, MLP_C_FC, MLP_C_PROJ = 0, 2, 5, 8, 10, 13
KEYS, VALUES = 16, 17
COLUMNS = (
    18  # a normalisation has gamma and beta, a product weights, scales (0 without) and bias; then the cache's keys and values
)
_REAL = np.float32(0)


class Sizes(NamedTuple):
    """Sizes of the model and of the call: `token_call` passes them as numbers of int64 in this order."""

    B: int  # texts
    D: int
    F: int  # width of the position-wise network
    H: int
    V: int
    group: int  # of int8
    activation: int
    text: int  # bytes from a text of the cache to the next
    row: int  # bytes from a position to the next
    tokens: int  # address of the table of tokens (V, D)
    positions: int  # and of that of positions
    mask: int  # of key_mask (B, Tk), or 0
    Tk: int  # positions in the cache, the new one among them


class Team(NamedTuple):
    """What the threads share of a call."""

    reached: np.ndarray  # (parts * LINE,) int64, see `meet`
    x: np.ndarray  # (B, D) the residual stream
    raw: np.ndarray  # (B * widest,) products before the bias
    qkv: np.ndarray  # (B, 3D)
    y: np.ndarray  # (B, 1, H, K) what the heads give
    logsumexp: np.ndarray  # (B, H, 1)
    hidden: np.ndarray  # (B, F)


class Own(NamedTuple):
    """What a thread has for itself."""

    u: np.ndarray  # (B, D) normalised
    moments: np.ndarray  # (2, B)
    codes: np.ndarray  # (B * widest in whole groups,) int8
    scales: np.ndarray  # (2, B * groups) scales, and as int32 where sums begin


def shared_size(B: int, D: int, F: int, H: int) -> int:
    """Numbers of float32 of a `Team`."""
    return B * (D + max(3 * D, F) + 3 * D + D + H + F)


def own_size(B: int, D: int, F: int, group: int) -> int:
    """Numbers of float32 of an `Own`, in whole cache lines."""
    codes, groups = _widest.py_func(D, F, group)
    return -(-(B * (D + 2 + 2 * groups) + B * codes // 4) // 16) * 16


@jit
def _widest(D, F, group):
    """The longest row in whole groups, a multiple of 4, and the most groups of a row."""
    short, long = min(group, -(-D // 4) * 4), min(group, -(-F // 4) * 4)
    return max(-(-D // short) * short, -(-F // long) * long), max(-(-D // short), -(-F // long))


@jit(inline="always")
def _team(reached, shared, sizes):
    B, D, F, H = sizes.B, sizes.D, sizes.F, sizes.H
    x = 0
    raw = x + B * D
    qkv = raw + B * max(3 * D, F)
    y = qkv + B * 3 * D
    logsumexp = y + B * D
    hidden = logsumexp + B * H
    return Team(
        reached,
        shared[x:raw].reshape(B, D),
        shared[raw:qkv],
        shared[qkv:y].reshape(B, 3 * D),
        shared[y:logsumexp].reshape(B, 1, H, D // H),
        shared[logsumexp:hidden].reshape(B, H, 1),
        shared[hidden : hidden + B * F].reshape(B, F),
    )


@jit(inline="always")
def _own(room, sizes):
    B, D = sizes.B, sizes.D
    codes, groups = _widest(D, sizes.F, sizes.group)
    moments = B * D
    scales = moments + 2 * B
    code = scales + 2 * B * groups
    return Own(
        room[:moments].reshape(B, D),
        room[moments:scales].reshape(2, B),
        room[code : code + B * codes // 4].view(np.int8),
        room[scales:code].reshape(2, B * groups),
    )


@jit(inline="always")
def _task(sizes, scale):
    """Causal attention of one new token of each text."""
    K, end = sizes.D // sizes.H, sizes.Tk - 1
    drop = np.zeros(5, np.uint32), np.uint32(0), np.float32(1)
    real = np.float32(scale)
    return Task(1, sizes.Tk, sizes.H, 1, K, K, (end - FAR + 1, end), sizes.mask, real, np.float32(0), drop)


@jit(inline="always")
def _multiplied(part, number, tag, a, weights, O, sizes, team, own):
    """a Wᵀ (B, O), of which this part's columns [first, last) are there."""
    raw = team.raw[: sizes.B * O].reshape(sizes.B, O)
    first, last = product(tag, part, number, a, weights, O, sizes.group, own, raw)
    return raw, first, last


@jit
def _shifted(raw, first, last, bias, out):
    # columns [first, last) of out (B, O) = raw + bias
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        for o in range(first, last):
            out[n, o] = raw[n, o] + shift[o]


@jit
def _added(raw, first, last, bias, out):
    # columns [first, last) of out (B, O) += raw + bias
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        for o in range(first, last):
            out[n, o] += raw[n, o] + shift[o]


@jit
def _activated(raw, first, last, bias, activation, out):
    # columns [first, last) of out (B, O) = f(raw + bias). Not in place: a compiler makes no vectors of what may overlap
    shift = numbers(bias, out.shape[1], _REAL)
    for n in range(len(out)):
        x, y = raw[n, first:last], out[n, first:last]
        for o in range(len(x)):
            x[o] += shift[first + o]
        if activation == GELU_TANH:
            gelu_tanh(0, len(x), x, y)
        elif activation == GELU_ERF:
            gelu_erf(0, len(x), x, y)
        elif activation == RELU:
            relu(0, len(x), x, y)
        else:
            y[:] = x


@jit(inline="always")
def _embed(part, number, ids, positions, sizes, x):
    """This part's columns of x (B, D): each text's new token and its position."""
    D = sizes.D
    first, last = part * D // number, (part + 1) * D // number
    for b in range(sizes.B):
        token = numbers(sizes.tokens + ids[b] * D * 4, D, _REAL)
        place = numbers(sizes.positions + positions[b] * D * 4, D, _REAL)
        for d in range(first, last):
            x[b, d] = token[d] + place[d]


@jit(inline="always")
def _normalised(x, weights, eps, own):
    (B, D), moments = x.shape, own.moments
    gamma, beta = numbers(weights[0], D, _REAL), numbers(weights[1], D, _REAL)
    normalise_rows(0, B, x, gamma, beta, eps, moments[0], moments[1], own.u)
    return own.u


@jit(inline="always")
def _attend(part, number, block, sizes, task, team):
    """Put this part's heads' keys and values into the cache, and let them attend."""
    H, K, D, at = sizes.H, task.K, sizes.D, task.Tk - 1
    query = address(team.qkv), 3 * D * 4, 3 * D * 4, K * 4
    start, stop = part * sizes.B * H // number, (part + 1) * sizes.B * H // number
    for n in range(start, stop):
        b, h = n // H, n % H
        offset = b * sizes.text + at * sizes.row + h * K * 4
        key, value = numbers(block[KEYS] + offset, K, _REAL), numbers(block[VALUES] + offset, K, _REAL)
        qkv = team.qkv[b]
        for k in range(K):
            key[k], value[k] = qkv[D + h * K + k], qkv[2 * D + h * K + k]
    cached = sizes.text, sizes.row, K * 4
    few_forward(start, stop, query, (block[KEYS], *cached), (block[VALUES], *cached), team.y, task, team.logsumexp)


@jit(inline="always")
def _meet(part, number, turn, tag, weights, O, K, sizes, team):
    """Wait for the other parts, and meanwhile fetch what this one reads first of the next product, of a (B, K) by W (O, K)."""
    arrive(team.reached, part, turn)
    fetch_share(tag, part, number, weights, O, K, sizes.group)
    wait(team.reached, number, turn)


@jit
def token_step(part, number, tag, reached, table, final, sizes_of_call, reals, shared, rooms, ids, positions, logits):
    # ids, positions (B,) -> logits (B, V); addresses of the blocks: table (L, COLUMNS), of ln_f and lm_head: final (5,);
    # numbers in the order of Sizes, reals: eps and the scale of scores; shared (shared_size,), rooms (number, own_size) float32;
    # tag: a number of the dtype in which weights are stored, for which alone the kernel is compiled
    n, turn = sizes_of_call, 1
    sizes = Sizes(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12])
    eps, task, own, team = reals[0], _task(sizes, reals[1]), _own(rooms[part], sizes), _team(reached, shared, sizes)
    D, x, y = sizes.D, team.x, team.y.reshape(sizes.B, sizes.D)
    _embed(part, number, ids, positions, sizes, x)
    meet(reached, part, number, turn)
    for layer in range(len(table)):
        block, further = table[layer], table[min(layer + 1, len(table) - 1)]
        u = _normalised(x, block[LN_1:], eps, own)
        raw, first, last = _multiplied(part, number, tag, u, block[C_ATTN:], 3 * D, sizes, team, own)
        _shifted(raw, first, last, block[C_ATTN + BIAS], team.qkv)
        arrive(reached, part, turn + 1)
        fetch_cached(part, number, block[KEYS], block[VALUES], sizes.H, sizes, task.K)
        wait(reached, number, turn + 1)
        _attend(part, number, block, sizes, task, team)
        _meet(part, number, turn + 2, tag, block[C_PROJ:], D, D, sizes, team)
        raw, first, last = _multiplied(part, number, tag, y, block[C_PROJ:], D, sizes, team, own)
        _added(raw, first, last, block[C_PROJ + BIAS], x)
        _meet(part, number, turn + 3, tag, block[MLP_C_FC:], sizes.F, D, sizes, team)
        u = _normalised(x, block[LN_2:], eps, own)
        raw, first, last = _multiplied(part, number, tag, u, block[MLP_C_FC:], sizes.F, sizes, team, own)
        _activated(raw, first, last, block[MLP_C_FC + BIAS], sizes.activation, team.hidden)
        _meet(part, number, turn + 4, tag, block[MLP_C_PROJ:], D, sizes.F, sizes, team)
        raw, first, last = _multiplied(part, number, tag, team.hidden, block[MLP_C_PROJ:], D, sizes, team, own)
        _added(raw, first, last, block[MLP_C_PROJ + BIAS], x)
        _meet(part, number, turn + 5, tag, further[C_ATTN:], 3 * D, D, sizes, team)
        turn += 5
    u = _normalised(x, final, eps, own)
    head_product(tag, part, number, u, final[2:], sizes.V, sizes.group, own, logits)
