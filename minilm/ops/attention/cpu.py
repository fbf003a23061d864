"""Scaled dot-product attention on the CPU.

Versions, naive to fast:

1. cpu_1.py: the whole matrix of weights, row by row.
2. Here: tiles of the scores, which are never whole in memory. A thread takes a block of queries past all keys that they see, in
   backward all blocks of a head. What is done with a tile stands in steps.py. A tile of very few queries would be mostly empty:
   rows.py takes them row by row.
"""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.attention import steps
from minilm.ops.attention.rows import FEW, few_backward, few_forward, weights_of
from minilm.ops.attention.scratch import (
    KEYS,
    QUERIES,
    at,
    backward_scratch,
    block_of,
    forward_scratch,
    own_row,
    rows_of_scratch,
    served,
    step,
    task_of,
)
from minilm.ops.attention.spec import Output, Saved, into
from minilm.ops.attention.tiles import blank, columns, drops, ends, factors, keys_product, mask_from, queries_product, seen
from minilm.ops.memory import clear, number, pack_rows, panel_width, place, size_of, unpack_rows
from minilm.ops.tile import ROWS
from minilm.ops.workspace import empty, scratch

SHARE = 4 * KEYS  # keys of a unit, where a head's are divided
WORTH = 2**20  # multiply-adds that are worth a thread
WORTH_FEW = 2**19  # where few queries read much memory

# --- forward ----------------------------------------------------------------------------------------------------------


@jit
def _forward(start, stop, rows, query, key, value, y, task, logsumexp):
    # units [start, stop), each a block of queries of a head: y (B, Tq, H, Kv), logsumexp (B, H, Tq)
    blocks, size = -(-task.Tq // QUERIES), size_of(task.scale)
    units = logsumexp.shape[0] * task.H * blocks
    w = forward_scratch(own_row(rows, start, units), size, panel_width(task.scale), task.Tk, task.K, task.Kv)
    head = -1
    for unit in range(start, stop):
        n, turn = unit // blocks, unit % blocks
        # blocks 0, last, 1, last - 1, ...: a late block of a causal head sees more keys: so half of the units are half the work
        part = turn // 2 if turn % 2 == 0 else blocks - 1 - turn // 2
        block = block_of(n, part, task)
        first, last = ends(task, block.b)
        if n // task.share != head:
            head = n // task.share
            _pack(value, block.b, served(block, task), first, last, task.Kv, w.N, w.v, task)
        steps.begin(w, query, block, task)
        begin, end = seen(block, first, last, task)
        for j in range(begin, end, KEYS):
            count = min(KEYS, end - j)
            steps.scores(w, key, block, j, count, task)
            steps.shrink(w, block.count if j > begin else 0, task)
            steps.exponentials(w, block, j, count, task)
            queries_product(w.S, count, j, block, task, w.v, w.N, w.o)
        steps.finish(w, y, block, task, logsumexp[block.b, block.h])


@jit
def _pack(x, b, h, first, last, width, N, rows, task):
    """Keys or values [first, last) of a head, `width` numbers each, as rows of N; zeros where the mask hides one."""
    one, out = number(1, task.scale), rows + first * N * size_of(task.scale)
    pack_rows(at(x, b, first, h), step(x), last - first, width, one, N, out)
    blank(out, N, last - first, mask_from(task, b, first), one)


# --- backward ---------------------------------------------------------------------------------------------------------


@jit
def _backward(start, stop, rows, inputs, gradients, task, logsumexp):
    # heads of keys and values [start, stop) of all batch rows: all three gradients
    w = _backward_scratch(rows, start, logsumexp.shape[0] * task.H // task.share, task)
    for n in range(start * task.share, stop * task.share):
        b, h = n // task.H, n % task.H
        first, last = ends(task, b)
        if h % task.share == 0:
            _pack(inputs[1], b, h // task.share, first, last, task.K, w.M, w.key, task)
            _clear_keys(w, 0, task.Tk, task)
        for part in range(-(-task.Tq // QUERIES)):
            _block(w, inputs, gradients, block_of(n, part, task), first, last, task, logsumexp, True, True)
        if (h + 1) % task.share == 0:
            _store_keys(w, gradients, b, h // task.share, 0, task.Tk, task)


@jit
def _backward_queries(start, stop, rows, inputs, gradients, task, logsumexp):
    # units [start, stop), each a block of queries of a head: dquery
    blocks, head = -(-task.Tq // QUERIES), -1
    w = _backward_scratch(rows, start, logsumexp.shape[0] * task.H * blocks, task)
    for unit in range(start, stop):
        n, block = unit // blocks, block_of(unit // blocks, unit % blocks, task)
        first, last = ends(task, block.b)
        if n // task.share != head:
            head = n // task.share
            _pack(inputs[1], block.b, served(block, task), first, last, task.K, w.M, w.key, task)
        _block(w, inputs, gradients, block, first, last, task, logsumexp, True, False)


@jit
def _backward_keys(start, stop, rows, inputs, gradients, task, logsumexp):
    # units [start, stop), each SHARE keys of a head of keys and values: dkey and dvalue
    shares, blocks = -(-task.Tk // SHARE), -(-task.Tq // QUERIES)
    w = _backward_scratch(rows, start, logsumexp.shape[0] * task.H // task.share * shares, task)
    for unit in range(start, stop):
        n, begin = unit // shares * task.share, unit % shares * SHARE  # n: the first head of queries that reads these keys
        b, g, end = n // task.H, n % task.H // task.share, min(task.Tk, begin + SHARE)
        first, last = ends(task, b)
        _clear_keys(w, begin, end, task)
        for part in range(task.share * blocks):
            block = block_of(n + part // blocks, part % blocks, task)
            _block(w, inputs, gradients, block, max(first, begin), min(last, end), task, logsumexp, False, True)
        _store_keys(w, gradients, b, g, begin, end, task)


@jit
def _block(w, inputs, gradients, block, first, last, task, logsumexp, for_query, for_keys):
    """A block of queries and keys [first, last): what the block adds to dkey and dvalue, its dquery, or both.

    Every sum runs in the same order in each of the three.
    """
    query, key, value, y, dy = inputs
    one, size = number(1, task.scale), size_of(task.scale)
    steps.load_queries(w, query, y, dy, block, task, logsumexp[block.b, block.h])
    if for_query:
        clear(w.dquery, QUERIES * w.M, one)
    begin, end = seen(block, first, last, task)
    for j in range(begin, end, KEYS):
        count = min(KEYS, end - j)
        if drops(task):
            factors(block, j, count, task, w.Z)
        for r in range(0, count, ROWS):
            few, strip = min(ROWS, count - r), r * QUERIES * size
            low, high = columns(block, j + r, few, task)
            steps.strip_gradients(w, key, value, w.dS + strip, w.Z + strip, block, j + r, few, low, high, task)
            if for_keys:
                high = min(high, block.count)
                keys_product(w.P, few, low, high, w.dy, w.N, w.dvalue + (j + r) * w.N * size, one)
                keys_product(w.dS + strip, few, low, high, w.query, w.M, w.dkey + (j + r) * w.M * size, one)
        if for_query:
            queries_product(w.dS, count, j, block, task, w.key, w.M, w.dquery)
    if for_query:
        to = at(gradients[0], block.b, block.i, block.h)
        unpack_rows(w.dquery, w.M, block.count, task.K, task.scale, to, step(gradients[0]))


@jit
def _backward_scratch(rows, start, count, task):
    width = panel_width(task.scale)
    return backward_scratch(own_row(rows, start, count), size_of(task.scale), width, task.Tk, task.K, task.Kv)


@jit
def _clear_keys(w, begin, end, task):
    """dkey = dvalue = 0 for keys [begin, end)."""
    one, size = number(1, task.scale), size_of(task.scale)
    clear(w.dkey + begin * w.M * size, (end - begin) * w.M, one)
    clear(w.dvalue + begin * w.N * size, (end - begin) * w.N, one)


@jit
def _store_keys(w, gradients, b, g, begin, end, task):
    """dkey and dvalue of keys [begin, end) to where they belong."""
    _, dkey, dvalue = gradients
    one, size = number(1, task.scale), size_of(task.scale)
    unpack_rows(w.dkey + begin * w.M * size, w.M, end - begin, task.K, one, at(dkey, b, begin, g), step(dkey))
    unpack_rows(w.dvalue + begin * w.N * size, w.N, end - begin, task.Kv, one, at(dvalue, b, begin, g), step(dvalue))


# --- calls ------------------------------------------------------------------------------------------------------------


def forward(
    query,
    key,
    value,
    *,
    causal=False,
    band=None,
    key_mask=None,
    scale=None,
    softcap=None,
    dropout=0.0,
    rng=None,
    return_weights=False,
):
    (B, Tq, H, K), Tk, Kv = query.shape, key.shape[1], value.shape[3]
    y = empty((B, Tq, H, Kv), query.dtype)  # (B, Tq, H, Kv)
    logsumexp = empty((B, H, Tq), query.dtype)  # (B, H, Tq)
    saved = Saved(query, key, value, y, logsumexp, key_mask, causal, band, scale, softcap, dropout, rng)
    task = task_of(query, value, key_mask, causal, band, scale, softcap, dropout, rng)
    arguments = place(query), place(key), place(value), y, task, logsumexp
    work = max(1, Tq * Tk * (K + Kv))  # multiply-adds of a head
    if Tq <= FEW:
        devices.parallel(few_forward, B * H, *arguments, grain=max(1, WORTH_FEW // work))
    else:
        blocks = -(-Tq // QUERIES)
        _run(_forward, forward_scratch, B * H * blocks, WORTH * blocks // work, *arguments)
    if not return_weights:
        return y, saved
    weights = empty((B, H, Tq, Tk), query.dtype)  # (B, H, Tq, Tk)
    devices.parallel(weights_of, B * H, place(query), place(key), task, logsumexp, weights)
    return Output(y, weights), saved


def backward(dy, saved, *, out=None):
    query, key, value, y, logsumexp, *options = saved
    (B, H, Tq), Tk, K, Kv = logsumexp.shape, key.shape[1], key.shape[3], value.shape[3]
    few = Tq <= FEW
    gradients = tuple(empty(a.shape, a.dtype) for a in (query, key, value)) if out is None or few else out
    task = task_of(query, value, *options)
    inputs = place(query), place(key), place(value), place(y), place(dy)
    arguments = inputs, tuple(place(gradient) for gradient in gradients), task, logsumexp
    work = max(1, Tq * Tk * (K + Kv))  # multiply-adds of a head
    heads, shared_work = B * H // task.share, work * task.share  # heads of keys and values, and what one of them takes
    threads = devices.threads_lately()
    if few:
        devices.parallel(few_backward, heads, inputs, gradients, task, logsumexp, grain=max(1, WORTH_FEW // (2 * shared_work)))
        return into(out, *gradients)
    if 7.3 * heads / threads >= 5 * -(-heads // threads):
        _run(_backward, backward_scratch, heads, WORTH // shared_work, *arguments)
    else:  # with fewer heads than threads, two passes are quicker: seven products spread evenly against five that are not
        blocks, shares = -(-Tq // QUERIES), -(-Tk // SHARE)
        _run(_backward_queries, backward_scratch, B * H * blocks, WORTH * blocks // work, *arguments)
        _run(_backward_keys, backward_scratch, heads * shares, WORTH * shares // shared_work, *arguments)
    return gradients


def _run(kernel, layout, count, grain, *arguments):
    """The kernel over its units, of which `grain` are worth a thread; each thread with a row of scratch, divided by `layout`."""
    *_, task, logsumexp = arguments
    number = devices.parts(count, max(1, grain))
    with scratch():
        rows = rows_of_scratch(layout, task, number, logsumexp.dtype)
        devices.parallel(kernel, count, rows, *arguments, number=number)
