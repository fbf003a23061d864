"""One token of the decoder of an encoder-decoder as one kernel, as `minilm.quantized.token_step` is for GPT-2.

::

    x       = √D target_embedding[id] + place                 shared out by columns
    u       = ln_1(x)                                         every thread for itself
    qkv     = u W_qkvᵀ + b                                    shared out by outputs
    y       = attention(q, k, v of the cache and new)         shared out by heads
    x       = x + y W_oᵀ + b                                  shared out by outputs
    q       = ln_cross_attn(x) W_qᵀ + b                       shared out by outputs
    y       = attention(q, k, v of the source)                shared out by heads
    x       = x + y W_oᵀ + b                                  shared out by outputs
    v       = f(ln_2(x) W_fcᵀ + b)                            shared out by outputs
    x       = x + v W_projᵀ + b                               shared out by outputs

Keys and values of the source are those that `MultiHeadAttention.remember` made once. As there, each number has the order of sums
that it has in the layers, so it is the same bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.compiled.waiting import meet
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.memory import address, numbers
from minilm.quantized.token_products import head_product
from minilm.quantized.token_step import _activated, _added, _attend, _multiplied, _normalised, _own, _shifted, _task, _team

# columns of the table of addresses, a row for each block: those of `token_step` to C_PROJ, but for the cache, and behind them
LN_1, C_ATTN, C_PROJ, LN_2, MLP_C_FC, MLP_C_PROJ = 0, 2, 5, 8, 10, 13
LN_CROSS, QUERY, CROSS_PROJ, MEMORY_KEYS, MEMORY_VALUES = 18, 20, 23, 26, 27
BIAS = 2
_REAL = np.float32(0)


class Sizes(NamedTuple):
    """Of the model and of the call, in the order in which the kernel gets them; see `minilm.quantized.token_step.Sizes`."""

    B: int
    D: int
    F: int
    H: int
    V: int
    group: int
    activation: int
    text: int
    row: int
    tokens: int
    mask: int
    Tk: int
    S: int  # tokens of a source
    memory_text: int  # bytes from a source's keys to the next one's
    memory_row: int  # and from a position to the next
    memory_mask: int  # address of (B, S), or 0


@jit(fastmath=set())  # the product and the sum are rounded apart, as in the layers
def _embed(part, number, ids, place, factor, sizes, x):
    """This part's columns of x (B, D): each target's new token, times √D, and its position's vector."""
    D = sizes.D
    for b in range(sizes.B):
        token = numbers(sizes.tokens + ids[b] * D * 4, D, _REAL)
        for d in range(part * D // number, (part + 1) * D // number):
            x[b, d] = token[d] * factor + place[d]


@jit(inline="always")
def _attend_source(part, number, block, sizes, scale, team):
    """Let this part's heads attend to the source."""
    H, K = sizes.H, sizes.D // sizes.H
    drop = np.zeros(5, np.uint32), np.uint32(0), np.float32(1)
    task = Task(1, sizes.S, H, 1, K, K, (1 - FAR, FAR - 1), sizes.memory_mask, np.float32(scale), np.float32(0), drop)
    query = address(team.qkv), 3 * sizes.D * 4, 3 * sizes.D * 4, K * 4
    places = sizes.memory_text, sizes.memory_row, K * 4
    start, stop = part * sizes.B * H // number, (part + 1) * sizes.B * H // number
    few_forward(start, stop, query, (block[MEMORY_KEYS], *places), (block[MEMORY_VALUES], *places), team.y, task, team.logsumexp)


@jit
def decoder_step(part, number, tag, reached, table, final, sizes_of_call, reals, shared, rooms, ids, place, logits):
    # ids (B,), place (D,) -> logits (B, V); addresses of the blocks: table (L, 28), of the last norm and the table of logits:
    # final (5,); numbers in the order of Sizes, reals: eps, the scale of scores and √D; the rest as in `token_step`
    n, turn = sizes_of_call, 1
    sizes = Sizes(
        n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14], n[15]
    )  # fmt: skip
    eps, task, own, team = reals[0], _task(sizes, reals[1]), _own(rooms[part], sizes), _team(reached, shared, sizes)
    D, x, y = sizes.D, team.x, team.y.reshape(sizes.B, sizes.D)
    _embed(part, number, ids, place, np.float32(reals[2]), sizes, x)
    meet(reached, part, number, turn)
    for layer in range(len(table)):
        block = table[layer]
        u = _normalised(x, block[LN_1:], eps, own)
        raw, first, last = _multiplied(part, number, tag, u, block[C_ATTN:], 3 * D, sizes, team, own)
        _shifted(raw, first, last, block[C_ATTN + BIAS], team.qkv)
        meet(reached, part, number, turn + 1)
        _attend(part, number, block, sizes, task, team)
        meet(reached, part, number, turn + 2)
        raw, first, last = _multiplied(part, number, tag, y, block[C_PROJ:], D, sizes, team, own)
        _added(raw, first, last, block[C_PROJ + BIAS], x)
        meet(reached, part, number, turn + 3)
        u = _normalised(x, block[LN_CROSS:], eps, own)
        raw, first, last = _multiplied(part, number, tag, u, block[QUERY:], D, sizes, team, own)
        _shifted(raw, first, last, block[QUERY + BIAS], team.qkv[:, :D])
        meet(reached, part, number, turn + 4)
        _attend_source(part, number, block, sizes, reals[1], team)
        meet(reached, part, number, turn + 5)
        raw, first, last = _multiplied(part, number, tag, y, block[CROSS_PROJ:], D, sizes, team, own)
        _added(raw, first, last, block[CROSS_PROJ + BIAS], x)
        meet(reached, part, number, turn + 6)
        u = _normalised(x, block[LN_2:], eps, own)
        raw, first, last = _multiplied(part, number, tag, u, block[MLP_C_FC:], sizes.F, sizes, team, own)
        _activated(raw, first, last, block[MLP_C_FC + BIAS], sizes.activation, team.hidden)
        meet(reached, part, number, turn + 7)
        raw, first, last = _multiplied(part, number, tag, team.hidden, block[MLP_C_PROJ:], D, sizes, team, own)
        _added(raw, first, last, block[MLP_C_PROJ + BIAS], x)
        meet(reached, part, number, turn + 8)
        turn += 8
    u = _normalised(x, final, eps, own)
    first, last = head_product(tag, part, number, u, final[2:], sizes.V, sizes.group, own, logits)
    if final[2 + BIAS] != 0:
        _shifted(logits, first, last, final[2 + BIAS], logits)
