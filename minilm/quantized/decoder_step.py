"""Tokens of the decoder of an encoder-decoder as one kernel, as `minilm.quantized.token_step` is for GPT-2.

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
    logits  = decoder_norm(x) W_outᵀ                          shared out by outputs
    id      = argmax logits                                   every thread of its outputs, then of all

and on with the token that was chosen, until a target ends: a greedy search asks Python once in many tokens. Post-norm:
`minilm.quantized.half_blocks`. Keys and values of the source are those that `MultiHeadAttention.remember` made once. As in
`token_step`, each number has the order of sums that it has in the layers, so it is the same bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.compiled.jit import jit
from minilm.ops.attention.rows import few_forward
from minilm.ops.attention.scratch import FAR, Task
from minilm.ops.largest import largest_of
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
)
from minilm.quantized.rooms import own_of, team_of
from minilm.quantized.token_products import nothing_dropped
from minilm.quantized.token_step import attend

# columns of the table of addresses behind those of `token_step`
LN_CROSS, QUERY, CROSS_PROJ, MEMORY_KEYS, MEMORY_VALUES = 18, 20, 23, 26, 27
COLUMNS = 28
TURNS = 8  # of a block: times that the threads wait for one another
_REAL = np.float32(0)


class Sizes(NamedTuple):
    """Sizes of the model and of the call, in the order in which the kernel gets them; see `minilm.quantized.token_step.Sizes`."""

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
    Tk: int  # after the first token of the call
    S: int  # tokens of a source
    memory_text: int  # bytes from a source's keys to the next one's
    memory_row: int  # and from a position to the next
    memory_mask: int  # address of (B, S), or 0
    post: int  # whether it is post-norm
    near: int  # whether the weights lie in a cache that all cores share
    end: int  # the token that ends a target


@jit(fastmath=set())  # the product and the sum are rounded apart, as in the layers
def embed(part, number, table, ids, places, factor, x):
    """This part's columns of x (N, D): each row's token, times √D, and its position's vector; row n has that of n % P in places
    (P, D)."""
    N, D = x.shape
    for n in range(N):
        token, place = numbers(table + ids[n] * D * 4, D, _REAL), places[n % len(places)]
        for d in range(part * D // number, (part + 1) * D // number):
            x[n, d] = token[d] * factor + place[d]


@jit(inline="always")
def _of_target(sizes, Tk, scale):
    """Causal attention of one new token of each target to Tk."""
    K, see = sizes.D // sizes.H, (Tk - FAR, Tk - 1)
    return Task(1, Tk, sizes.H, 1, K, K, see, sizes.mask, np.float32(scale), np.float32(0), nothing_dropped())


@jit(inline="always")
def _of_source(sizes, scale):
    """Attention of a token to the whole source."""
    K, see = sizes.D // sizes.H, (1 - FAR, FAR - 1)
    return Task(1, sizes.S, sizes.H, 1, K, K, see, sizes.memory_mask, np.float32(scale), np.float32(0), nothing_dropped())


@jit(inline="always")
def _query_of(team):
    """Where the queries of a source are, (B, D): side by side, since Numba would compile the product anew for rows of (B, 3D)."""
    B, D = team.x.shape
    return team.qkv.reshape(team.qkv.size)[: B * D].reshape(B, D)


@jit(inline="always")
def _attend_source(thread, block, task):
    """Let this part's heads attend to the source."""
    sizes, team, number = thread.sizes, thread.team, thread.number
    H, K = sizes.H, sizes.D // sizes.H
    query = address(team.qkv), sizes.D * 4, sizes.D * 4, K * 4
    places = sizes.memory_text, sizes.memory_row, K * 4
    start, stop = thread.part * sizes.B * H // number, (thread.part + 1) * sizes.B * H // number
    few_forward(start, stop, query, (block[MEMORY_KEYS], *places), (block[MEMORY_VALUES], *places), team.y, task, team.logsumexp)


@jit
def _choose(part, number, first, last, logits, best):
    """This part's best of each target, best[part, 0] (B,): of columns [first, last) of logits (B, V)."""
    for b in range(len(logits)):
        best[part, 0, b] = largest_of(logits[b], first, last)


@jit
def _best_of_all(logits, number, best, ids):
    """The best of all parts, whose columns follow one another: ids (B,)."""
    for b in range(len(logits)):
        place = -1
        for part in range(number):
            other = best[part, 0, b]
            if other < 0 or (place >= 0 and logits[b, place] != logits[b, place]):
                continue
            if place < 0 or not logits[b, other] <= logits[b, place]:
                place = other
        ids[b] = place


@jit(inline="always")
def _blocks(thread, table, to_target, to_source, turn):
    """x after all blocks; returns the last turn."""
    sizes, team = thread.sizes, thread.team
    y = team.y.reshape(sizes.B, sizes.D)
    for layer in range(len(table)):
        block = table[layer]
        base = enter(thread, block[LN_1:], block[C_ATTN:], team.qkv)
        wait(thread, turn + 1)
        attend(thread, block, to_target)
        wait(thread, turn + 2)
        leave(thread, y, block[C_PROJ:], base)
        wait(thread, turn + 3)
        base = enter(thread, block[LN_CROSS:], block[QUERY:], _query_of(team))
        wait(thread, turn + 4)
        _attend_source(thread, block, to_source)
        wait(thread, turn + 5)
        leave(thread, y, block[CROSS_PROJ:], base)
        wait(thread, turn + 6)
        base = enter_activated(thread, block[LN_2:], block[MLP_C_FC:], team.hidden)
        wait(thread, turn + 7)
        leave(thread, team.hidden, block[MLP_C_PROJ:], base)
        wait(thread, turn + 8)
        turn += TURNS
    return turn


@jit(inline="always")
def thread_of(part, number, tag, reached, n, reals, shared, rooms):
    """What this thread needs, by the numbers n of `Sizes` and where it computes."""
    sizes = Sizes(
        n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14], n[15], n[16], n[17], n[18]
    )  # fmt: skip
    team, own = team_of(reached, shared, sizes), own_of(rooms[part], sizes)
    return Thread(part, number, tag, sizes, sizes.near, reals[0], sizes.post != 0, team, own)


@jit(inline="always")
def read_token(thread, table, final, ids, place, token, reals, logits, turn):
    """This part's columns [first, last) of logits (B, V) after ids (B,), token number `token` of the call, at place (1, D);
    returns the two and the last turn."""
    sizes, scale = thread.sizes, reals[1]
    embed(thread.part, thread.number, sizes.tokens, ids, place, np.float32(reals[2]), thread.team.x)
    wait(thread, turn + 1)
    turn = _blocks(thread, table, _of_target(sizes, sizes.Tk + token, scale), _of_source(sizes, scale), turn + 1)
    first, last = logits_of(thread, normalised(thread, final), final[2:], logits)
    return first, last, turn


@jit(counted=False)
def decoder_step(part, number, tag, reached, table, final, sizes, reals, shared, rooms, ids, places, best, written, logits):
    # ids (B,), places (n, D) -> logits (B, V) of the last token. Of several tokens, n of written (n, B) are chosen, or fewer
    # where a target ends; best (number, 2, B): room. Addresses of the blocks: table (L, COLUMNS), of the last norm and the table
    # of logits: final (5,); numbers in the order of Sizes, reals: eps, the scale of scores and √D; the rest as in `token_step`
    thread, turn = thread_of(part, number, tag, reached, sizes, reals, shared, rooms), 0
    chosen = best[part, 1]  # (B,) every thread's own
    for b in range(len(ids)):
        chosen[b] = ids[b]
    for token in range(len(places)):
        first, last, turn = read_token(thread, table, final, chosen, places[token : token + 1], token, reals, logits, turn)
        if len(written) == 0:
            return
        _choose(part, number, first, last, logits, best)
        wait(thread, turn + 1)
        turn += 1
        _best_of_all(logits, number, best, chosen)
        ended = False
        for b in range(len(chosen)):
            if part == 0:
                written[token, b] = chosen[b]
            ended |= chosen[b] == thread.sizes.end
        if ended:
            return
