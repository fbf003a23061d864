"""One token of a pre-norm transformer as one kernel: the blocks of `minilm.models.gpt`, the last normalisation and the logits.

A token of GPT-2 is 49 products, each of which reads its weights once; with int8 all of them take 3 ms, and the calls of Python
between them as long. Here each thread goes through all blocks, with its share of the outputs of every product and of the heads,
and waits for the others where it wants what they have written (`minilm.compiled.waiting.meet`)::

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
from minilm.compiled.waiting import meet
from minilm.ops.activations.cpu import gelu_erf, gelu_tanh, relu
from minilm.ops.attention.rows import few_forward
from minilm.ops.layer_norm.cpu import normalise_rows
from minilm.ops.memory import numbers
from minilm.ops.panels import pack_transposed
from minilm.ops.product import DEPTH
from minilm.ops.row import multiply_transposed
from minilm.ops.tile import ROWS, WIDTH32, multiply_panel
from minilm.quantized.cpu import multiply_bfloat16, multiply_int8, quantize_rows

FLOAT32, BFLOAT16, INT8 = range(3)  # how weights are stored
NONE, GELU_TANH, GELU_ERF, RELU = range(4)  # what follows a product
FORMS = {"float32": FLOAT32, "bf16": BFLOAT16, "int8": INT8}
FOLLOWS = {"gelu_tanh": GELU_TANH, "gelu_erf": GELU_ERF, "relu": RELU}
# columns of the table of addresses: a row for each block
LN_1, C_ATTN, C_PROJ, LN_2, MLP_C_FC, MLP_C_PROJ = 0, 2, 5, 8, 10, 13
KEYS, VALUES = 16, 17
COLUMNS = (
    18  # a normalisation has gamma and beta, a product weights, scales (0 without) and bias; then the cache's keys and values
)
_REAL, _CODE, _HALF = np.float32(0), np.uint8(0), np.uint16(0)


class Sizes(NamedTuple):
    """Of the model and of the call."""

    B: int  # texts
    D: int
    F: int  # width of the position-wise network
    H: int
    V: int
    form: int  # FLOAT32, BFLOAT16 or INT8
    group: int  # of INT8
    activation: int
    eps: float
    text: int  # bytes from a text of the cache to the next
    row: int  # bytes from a position to the next


class Team(NamedTuple):
    """What the threads share of a call."""

    reached: np.ndarray  # (parts * LINE,) int64, see `meet`
    raw: np.ndarray  # (B * widest,) products before the bias
    qkv: np.ndarray  # (B, 3D)
    y: np.ndarray  # (B, 1, H, K) what the heads give
    logsumexp: np.ndarray  # (B, H, 1)
    hidden: np.ndarray  # (B, F)


class Own(NamedTuple):
    """What each thread has for itself."""

    u: np.ndarray  # (parts, B, D) normalised
    moments: np.ndarray  # (parts, 2, B)
    codes: np.ndarray  # (parts, B * widest in whole groups) int8
    scales: np.ndarray  # (parts, 2, B * groups) scales, and as int32 where sums begin


@jit
def _multiply_panels(start, stop, a, W, out):
    # panels [start, stop) of columns of out (B, O) = a (B, K) Wᵀ, W (O, K)
    K = a.shape[1]
    panel, edge = np.empty((DEPTH, WIDTH32), np.float32), np.empty((ROWS, WIDTH32), np.float32)
    for p in range(start, stop):
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            pack_transposed(W, p * WIDTH32, k, depth, panel)
            multiply_panel(a[:, k : k + depth], panel[:depth], edge, out, p * WIDTH32, k > 0)


@jit
def _product(part, number, a, weights, O, sizes, own, out):
    """This part's columns [first, last) of out (B, O) = a (B, K) Wᵀ, by the addresses of W and its scales; returns the two."""
    (B, K), panels = a.shape, -(-O // WIDTH32)
    start, stop = part * panels // number, (part + 1) * panels // number
    if sizes.form == FLOAT32:
        W = numbers(weights[0], O * K, _REAL).reshape(O, K)
        if B == 1:
            multiply_transposed(2 * start, min(2 * stop, -(-2 * O // WIDTH32)), a[0], W, out[0])
        else:
            _multiply_panels(start, stop, a, W, out)
    elif sizes.form == BFLOAT16:
        multiply_bfloat16(start, stop, a, numbers(weights[0], panels * K * WIDTH32, _HALF).reshape(panels, K, WIDTH32), out)
    else:
        group = min(sizes.group, -(-K // 4) * 4)
        G = -(-K // group)
        codes = own.codes[part][: B * G * group].reshape(B, G * group)
        scales = own.scales[part, 0][: G * B].reshape(G, B)
        begin = own.scales[part, 1].view(np.int32)[: G * B].reshape(G, B)
        quantize_rows(0, B, a, group, codes, scales, begin)
        packed = numbers(weights[0], panels * G * group * WIDTH32, _CODE).reshape(panels, G * group // 4, WIDTH32, 4)
        factors = numbers(weights[1], panels * G * WIDTH32, _REAL).reshape(panels, G, WIDTH32)
        multiply_int8(start, stop, codes, scales, begin, packed, factors, out)
    return start * WIDTH32, min(O, stop * WIDTH32)


@jit
def _affine(part, number, a, weights, sizes, activation, team, own, out, add):
    """This part's columns of out (B, O) = f(a Wᵀ + b), or with `add` of out += a Wᵀ + b."""
    B, O = out.shape
    raw, bias = team.raw[: B * O].reshape(B, O), numbers(weights[2], O, _REAL)
    first, last = _product(part, number, a, weights, O, sizes, own, raw)
    for n in range(B):
        row, target, shift = raw[n, first:last], out[n, first:last], bias[first:last]
        if add:
            for o in range(len(row)):
                target[o] += row[o] + shift[o]
        else:
            for o in range(len(row)):
                target[o] = row[o] + shift[o]
        if activation == GELU_TANH:
            gelu_tanh(0, len(row), target, target)
        elif activation == GELU_ERF:
            gelu_erf(0, len(row), target, target)
        elif activation == RELU:
            relu(0, len(row), target, target)


@jit
def _normalised(part, x, weights, sizes, own):
    u, moments, D = own.u[part], own.moments[part], sizes.D
    gamma, beta = numbers(weights[0], D, _REAL), numbers(weights[1], D, _REAL)
    normalise_rows(0, sizes.B, x, gamma, beta, sizes.eps, moments[0], moments[1], u)
    return u


@jit
def _attend(part, number, block, sizes, task, places, team):
    """Put this part's heads' keys and values into the cache, and let them attend."""
    H, K, D, at = sizes.H, task.K, sizes.D, task.Tk - 1
    start, stop = part * sizes.B * H // number, (part + 1) * sizes.B * H // number
    for n in range(start, stop):
        b, h = n // H, n % H
        offset = b * sizes.text + at * sizes.row + h * K * 4
        key, value = numbers(block[KEYS] + offset, K, _REAL), numbers(block[VALUES] + offset, K, _REAL)
        qkv = team.qkv[b]
        for k in range(K):
            key[k], value[k] = qkv[D + h * K + k], qkv[2 * D + h * K + k]
    cached = sizes.text, sizes.row, K * 4
    few_forward(start, stop, places, (block[KEYS], *cached), (block[VALUES], *cached), team.y, task, team.logsumexp)


@jit
def token_step(part, number, states, table, final, sizes, task, places, team, own, x, logits):
    # blocks' addresses: table (L, COLUMNS); of ln_f and lm_head: final (5,); x (B, D) -> logits (B, V). x is written over
    reached, turn, B, D = team.reached, 0, sizes.B, sizes.D
    y = team.y.reshape(B, D)
    for layer in range(len(table)):
        block = table[layer]
        u = _normalised(part, x, block[LN_1:], sizes, own)
        _affine(part, number, u, block[C_ATTN:], sizes, NONE, team, own, team.qkv, False)
        if not meet(reached, part, number, turn + 1, states):
            return
        _attend(part, number, block, sizes, task, places, team)
        if not meet(reached, part, number, turn + 2, states):
            return
        _affine(part, number, y, block[C_PROJ:], sizes, NONE, team, own, x, True)
        if not meet(reached, part, number, turn + 3, states):
            return
        u = _normalised(part, x, block[LN_2:], sizes, own)
        _affine(part, number, u, block[MLP_C_FC:], sizes, sizes.activation, team, own, team.hidden, False)
        if not meet(reached, part, number, turn + 4, states):
            return
        _affine(part, number, team.hidden, block[MLP_C_PROJ:], sizes, NONE, team, own, x, True)
        if not meet(reached, part, number, turn + 5, states):
            return
        turn += 5
    u = _normalised(part, x, final, sizes, own)
    _product(part, number, u, final[2:], sizes.V, sizes, own, logits)
