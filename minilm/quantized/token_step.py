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
from minilm.compiled.waiting import arrive
from minilm.compiled.waiting import wait as wait_for
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.memory import address, numbers
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
    logits_of,
    normalised,
    wait,
    wait_fetching,
)
from minilm.quantized.rooms import own_of, team_of
from minilm.quantized.token_products import fetch_cached, nothing_dropped

KEYS, VALUES = 16, 17  # of the cache: columns of the table of addresses behind those of `half_blocks`
COLUMNS = 18
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


@jit(inline="always")
def _task(sizes, scale):
    """Causal attention of one new token of each text."""
    K, end = sizes.D // sizes.H, sizes.Tk - 1
    see, real = (end - FAR + 1, end), np.float32(scale)
    return Task(1, sizes.Tk, sizes.H, 1, K, K, see, sizes.mask, real, np.float32(0), nothing_dropped())


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
def attend(thread, block, task):
    """Put this part's heads' keys and values into the cache, and let them attend."""
    part, number, sizes, team = thread.part, thread.number, thread.sizes, thread.team
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
def _wait_for_keys(thread, turn, block, task):
    """Wait for the other parts, and meanwhile fetch what this one reads of the cache."""
    part, number, sizes = thread.part, thread.number, thread.sizes
    arrive(thread.team.reached, part, turn)
    fetch_cached(part, number, block[KEYS], block[VALUES], sizes.H, sizes, task.K)
    wait_for(thread.team.reached, number, turn)


@jit(counted=False)
def token_step(part, number, tag, reached, table, final, sizes_of_call, reals, shared, rooms, ids, positions, logits):
    # ids, positions (B,) -> logits (B, V); addresses of the blocks: table (L, COLUMNS), of ln_f and lm_head: final (5,);
    # numbers in the order of Sizes, reals: eps and the scale of scores; shared (shared_size,), rooms (number, own_size) float32;
    # tag: a number of the dtype in which weights are stored, for which alone the kernel is compiled
    n, turn = sizes_of_call, np.int64(1)  # of a literal 1 Numba would compile `meet` apart
    sizes = Sizes(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12])
    task, own, team = _task(sizes, reals[1]), own_of(rooms[part], sizes), team_of(reached, shared, sizes)
    thread = Thread(part, number, tag, sizes, None, reals[0], False, team, own)
    D, F, y = sizes.D, sizes.F, team.y.reshape(sizes.B, sizes.D)
    _embed(part, number, ids, positions, sizes, team.x)
    wait(thread, turn)
    for layer in range(len(table)):
        block, further = table[layer], table[min(layer + 1, len(table) - 1)]
        base = enter(thread, block[LN_1:], block[C_ATTN:], team.qkv)
        _wait_for_keys(thread, turn + 1, block, task)
        attend(thread, block, task)
        wait_fetching(thread, turn + 2, block[C_PROJ:], D, D)
        leave(thread, y, block[C_PROJ:], base)
        wait_fetching(thread, turn + 3, block[MLP_C_FC:], F, D)
        base = enter_activated(thread, block[LN_2:], block[MLP_C_FC:], team.hidden)
        wait_fetching(thread, turn + 4, block[MLP_C_PROJ:], D, F)
        leave(thread, team.hidden, block[MLP_C_PROJ:], base)
        wait_fetching(thread, turn + 5, further[C_ATTN:], 3 * D, D)
        turn += 5
    logits_of(thread, normalised(thread, final), final[2:], logits)
