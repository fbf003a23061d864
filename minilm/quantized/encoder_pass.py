"""The encoder of an encoder-decoder as one kernel, for a few sources: its blocks, and the keys and values that the decoder reads.

::

    x       = √D source_embedding[id] + place                 shared out by columns
    u       = ln_1(x)                                         every thread for itself
    qkv     = u W_qkvᵀ + b                                    shared out by outputs
    y       = attention(q, k, v)                              shared out by heads
    x       = x + y W_oᵀ + b                                  shared out by outputs
    v       = f(ln_2(x) W_fcᵀ + b)                            shared out by outputs
    x       = x + v W_projᵀ + b                               shared out by outputs
    m       = encoder_norm(x)                                 every thread for itself
    k, v    = m W_kᵀ + b, m W_vᵀ + b                          of each block of the decoder, shared out by outputs

Of one sentence, the calls of Python between the layers take as long as the products. x has a row for every token of every source,
N = B S. `minilm.quantized.half_blocks` has the steps, and post-norm; the bits are those of the layers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.attention import cpu as tiles
from minilm.ops.attention.rows import FEW, few_forward
from minilm.ops.attention.scratch import FAR, QUERIES, Task
from minilm.ops.memory import address
from minilm.quantized.decoder_step import embed
from minilm.quantized.half_blocks import (
    C_ATTN,
    C_PROJ,
    LN_1,
    LN_2,
    MLP_C_FC,
    MLP_C_PROJ,
    Thread,
    enter,
    enter_activated,
    leave,
    multiplied,
    normalised,
    wait,
)
from minilm.quantized.rooms import own_of, team_of
from minilm.quantized.token_products import nothing_dropped

COLUMNS = 16  # of the table of addresses, a row for each block: those of `half_blocks`
TURNS = 5  # of a block: times that the threads wait for one another


class Sizes(NamedTuple):
    """Of the model and of the call, in the order in which the kernel gets them; see `minilm.quantized.token_step.Sizes`."""

    B: int  # rows of x: tokens of all sources
    D: int
    F: int
    H: int
    group: int
    activation: int
    tokens: int  # address of the table of tokens
    S: int  # tokens of a source
    mask: int  # address of (B / S, S), or 0
    post: int  # whether it is post-norm
    near: int  # whether the weights lie in a cache that all cores share


@jit(inline="always")
def _attend(thread, rows, scale):
    """This part's heads, or blocks of queries of a head, attend to their source; rows (number, .): room for each part."""
    sizes, team = thread.sizes, thread.team
    sources, S, H, K = sizes.B // sizes.S, sizes.S, sizes.H, sizes.D // sizes.H
    task = Task(S, S, H, 1, K, K, (1 - FAR, FAR - 1), sizes.mask, np.float32(scale), np.float32(0), nothing_dropped())
    begin, row = address(team.qkv), 3 * sizes.D * 4  # bytes from a position to the next
    steps = S * row, row, K * 4
    query, key, value = (begin, *steps), (begin + sizes.D * 4, *steps), (begin + 2 * sizes.D * 4, *steps)
    y, logsumexp = team.y.reshape(sources, S, H, K), team.logsumexp.reshape(sources, H, S)
    units = sources * H * (1 if S <= FEW else -(-S // QUERIES))
    start, stop = thread.part * units // thread.number, (thread.part + 1) * units // thread.number
    if S <= FEW:
        few_forward(start, stop, query, key, value, y, task, logsumexp)
    else:
        tiles._forward(start, stop, rows, query, key, value, y, task, logsumexp)


@jit(counted=False)
def encoder_pass(part, number, tag, reached, table, final, memories, sizes_of_call, reals, shared, rooms, rows, ids, places, out):
    # ids (N,), places (S, D) -> out (2 L', N, D): keys and values of the source for each of L' blocks of the decoder; addresses
    # of the blocks: table (L, COLUMNS), of the last norm: final (2,), of the products of keys and values: memories (2 L', 3);
    # numbers in the order of Sizes, reals: eps, the scale of scores and √D; rows (number, .): room for attention; the rest as in
    # `token_step`
    n, turn = sizes_of_call, np.int64(1)  # of a literal 1 Numba would compile `meet` apart
    sizes = Sizes(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10])
    own, team = own_of(rooms[part], sizes), team_of(reached, shared, sizes)
    thread = Thread(part, number, tag, sizes, sizes.near, reals[0], sizes.post != 0, team, own)
    y = team.y.reshape(sizes.B, sizes.D)
    embed(part, number, sizes.tokens, ids, places, np.float32(reals[2]), team.x)
    wait(thread, turn)
    for layer in range(len(table)):
        block = table[layer]
        base = enter(thread, block[LN_1:], block[C_ATTN:], team.qkv)
        wait(thread, turn + 1)
        _attend(thread, rows, reals[1])
        wait(thread, turn + 2)
        leave(thread, y, block[C_PROJ:], base)
        wait(thread, turn + 3)
        base = enter_activated(thread, block[LN_2:], block[MLP_C_FC:], team.hidden)
        wait(thread, turn + 4)
        leave(thread, team.hidden, block[MLP_C_PROJ:], base)
        wait(thread, turn + 5)
        turn += TURNS
    m = normalised(thread, final)
    for number_of_product in range(len(memories)):
        multiplied(thread, m, memories[number_of_product], out[number_of_product])
