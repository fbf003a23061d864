"""Products of float32 matrices in bfloat16, blocked for the caches, on minilm's own threads.

The left operand is rounded whole, once (`minilm.ops.bfloat16.operands.rows`). The right one is never whole in memory: a thread
packs a group of panels, BLOCK numbers of k deep, where the second cache holds them, and multiplies by them all its rows of the
left, a chunk of them at a time, one panel after another: a panel's words then come from the nearest cache.

Each number of the result is one chain of additions over k in order, whatever the chunks, groups and threads.

On two cores of a Zen 5, whose registers alone make 1,110 GFLOP/s: 800 to 915 from 256 rows on (y, dx and dW of 768 x 3072, 384 x
1536, 1024 x 1024), where PyTorch's autocast makes 770 to 925 and `minilm.ops.product` in float32 340 to 480, of 558.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import target
from minilm.ops.bfloat16.matrix_tile import HIGH, copied
from minilm.ops.bfloat16.operands import BYTES, WIDTH, pack_panels, pack_panels_transposed, rows
from minilm.ops.bfloat16.panels import CHUNK, KINDS, rows_by_panel
from minilm.ops.memory import address, fetch, numbers, place
from minilm.ops.workspace import empty, scratch

BLOCK = 512  # numbers of k: 32 KiB a panel
GROUP = 8  # panels, at most
PANEL = BLOCK // 2 * WIDTH  # words
MOST = max(CHUNK.values())  # rows of a chunk
NARROW, EDGE = MOST * WIDTH, HIGH * WIDTH  # words of a thread, for what c lacks of a panel's columns, and of a tile's rows
WORTH = 2**19  # multiply-adds that are worth a thread


@jit
def multiply_rows(kind, a, a_step, count, panels, panel_step, columns, c, c_step, words, add, narrow):
    """c (count, columns) = a @ b, or += with `add`, one panel after another.

    Addresses, and bytes from row to row or panel to panel; from `narrow` on there are NARROW + EDGE words. `kind` is panels of
    the wanted type (`minilm.ops.bfloat16.panels`).
    """
    edge = narrow + NARROW * BYTES
    for column in range(0, columns, WIDTH):
        panel, width = panels + column // WIDTH * panel_step, min(WIDTH, columns - column)
        to, step = (c + column * BYTES, c_step) if width == WIDTH else (narrow, WIDTH * BYTES)
        if width < WIDTH and add:
            copied(c + column * BYTES, c_step, to, step, count, width)
        rows_by_panel(kind, a, a_step, count, panel, to, step, words, add, edge)
        if width < WIDTH:
            copied(to, step, c + column * BYTES, c_step, count, width)


@jit
def _fetch_part(b, b_step, transposed, shape, following, group, part, parts):
    """Fetch a part of what is packed next, from (column, k) on, while the products go on; from column N on there is nothing."""
    (_, K, N), (column, k) = shape, following
    columns, depth = min(group * WIDTH, N - column), min(BLOCK, K - k)
    lines, width = (columns, depth) if transposed else (depth, columns)
    begin = b + (column * b_step + k * BYTES if transposed else k * b_step + column * BYTES)
    for r in range(lines * part // parts, lines * (part + 1) // parts):
        fetch(begin + r * b_step, width * BYTES)


@jit
def _multiply(start, stop, own, group, chunk, a, b, b_step, transposed, shape, c, c_step, bias):
    # units [start, stop), counted through groups of panels, and in each of them through chunks of rows; shape (M, K, N);
    # bias (N,) or (0,) is added to each row of c while it is in the cache
    M, K, N = shape
    chunks = -(-M // chunk)
    parts, units = len(own.words), chunks * -(-N // (group * WIDTH))
    space = own.words[-(-start * parts // units)]  # (NARROW + EDGE + group * PANEL,)
    narrow, a_step, unit = address(space), a.strides[0], start
    panels = narrow + (NARROW + EDGE) * BYTES
    while unit < stop:
        column, first = unit // chunks * group * WIDTH, unit % chunks
        last = min(chunks, first + stop - unit)
        unit += last - first
        columns = min(group * WIDTH, N - column)
        for k in range(0, K, BLOCK):
            depth = min(BLOCK, K - k)
            if transposed:
                pack_panels_transposed(b + column * b_step + k * BYTES, b_step, depth, columns, panels, PANEL * BYTES)
            else:
                pack_panels(b + k * b_step + column * BYTES, b_step, depth, columns, panels, PANEL * BYTES)
            following = (column, k + BLOCK) if k + BLOCK < K else (unit // chunks * group * WIDTH if unit < stop else N, 0)
            for row in range(first * chunk, min(M, last * chunk), chunk):
                _fetch_part(b, b_step, transposed, shape, following, group, row // chunk - first, last - first)
                left, to = address(a) + row * a_step + k // 2 * BYTES, c + row * c_step + column * BYTES
                count, words = min(chunk, M - row), -(-depth // 2)
                multiply_rows(own, left, a_step, count, panels, PANEL * BYTES, columns, to, c_step, words, k > 0, narrow)
                if k + depth == K and len(bias) > 0:
                    _add_to_rows(to, c_step, count, bias[column : column + columns])
    space[0] = a[0, 0]  # both are in use until here


@jit
def _add_to_rows(c, c_step, count, bias):
    for r in range(count):
        row = numbers(c + r * c_step, len(bias), bias[0])
        for j in range(len(bias)):
            row[j] += bias[j]


def _grouped(panels: int, threads: int) -> int:
    """Panels of a group: as many as the cache holds, or fewer, for the groups to be shared evenly."""
    groups = -(-panels // GROUP)
    if panels >= threads:
        groups = -(-groups // threads) * threads
    return -(-panels // groups)


def _run(left, b, transposed, shape, out, bias=None) -> None:
    (M, K, N), bias = shape, out[0, :0] if bias is None else bias
    kind = KINDS[target.bfloat16_unit()]
    panels, chunk = -(-N // WIDTH), CHUNK[kind]
    group = _grouped(panels, devices.threads_lately())
    units = -(-M // chunk) * -(-panels // group)
    number = devices.parts(units, max(1, WORTH * units // (M * K * N)))
    own = kind(empty((number, NARROW + EDGE + group * PANEL), np.uint32))
    devices.parallel(_multiply, units, own, group, chunk, left, *place(b), transposed, shape, *place(out), bias, number=number)


def product(a: np.ndarray, W: np.ndarray, out: np.ndarray, *, transposed: bool, bias: np.ndarray | None = None) -> None:
    """out (M, N) = a (M, K) by Wᵀ (``transposed``, W (N, K)) or by W (K, N): rounded to bfloat16, summed in float32.

    To each row `bias` (N,) is added as it is, in float32.
    """
    if not a.size or not W.size:
        out[...] = 0 if bias is None else bias
        return
    with scratch():
        _run(rows(a, False), W, transposed, (*a.shape, out.shape[1]), out, bias)


def transposed_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out (M, N) = aᵀ b for a (K, M), b (K, N): rounded to bfloat16, summed in float32."""
    if not a.size or not b.size:
        out[...] = 0
        return
    with scratch():
        _run(rows(a, True), b, False, (*a.shape[::-1], b.shape[1]), out)
