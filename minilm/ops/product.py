"""Matrix products on minilm's own threads, by the register tile of `minilm.ops.tile`.

`product` is a by Wᵀ or W, `transposed_product` aᵀ by b. Both keep what is read again in the cache that it is read from::

    for each chunk of rows of c and each DEPTH of k:    CHUNK by DEPTH numbers of a: a part of the second cache
        for each panel of the second matrix:            packed, DEPTH by 2W numbers: no more than the first cache holds
            for each tile of ROWS rows:                 ROWS by 2W sums, in registers
                c[rows, columns] += a[rows, k] panel    over DEPTH numbers k

so that for each number that comes from the memory beyond the second cache there are hundreds of multiply-adds. The sums over one
DEPTH go on where those over the last one ended, and each number of c is one chain over k: its bits know nothing of the blocks.

A panel is packed where the tile reads it, again for each chunk. Where there are MANY chunks and the third cache holds the second
matrix (HELD), all of it is packed once, before the loops; of aᵀ b, b in parts of some DEPTHs that it holds. On Zen 3 such
products took 1 to 6 % less time so.

`minilm.ops.tile` has what these steps were measured to bring. DEPTH from 128 to 1,024 made at most 7 % of difference there. On
Zen 3, whose second cache is half as large, most products took 1 to 5 % less time with 512 than with 320: for each DEPTH all of c
is read and written once more, and for each chunk all of the second matrix is packed.
"""

from __future__ import annotations

import functools

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import bfloat16, caches, precision
from minilm.ops.panels import AHEAD, copy_numbers, pack_rows, pack_transposed, packed
from minilm.ops.row import row_product
from minilm.ops.tile import (
    FEW,
    REGISTERS,
    ROWS,
    WIDTH32,
    WIDTH64,
    copy_corner,
    fetch_numbers,
    fetch_tile,
    multiply_panel,
    multiply_tile,
    width_of,
)
from minilm.ops.vectors import VECTOR
from minilm.ops.workspace import empty, scratch

__all__ = ["packed", "product", "transposed_product", "transposed_products"]

FIRST_SHARE, SECOND_SHARE = (2 / 3, 1 / 2) if REGISTERS == 32 else (1, 3 / 4)  # of these caches: measured on Zen 5; Zen 3
DEPTH = max(64, int(caches.size(1) * FIRST_SHARE) // (2 * VECTOR) // 64 * 64)  # rows k of a panel, a share of the first cache
CHUNK = max(64, int(caches.size(2) * SECOND_SHARE) // (DEPTH * 4) // 64 * 64)  # rows of a: a share of the second cache
MANY = 4  # chunks from which on the second matrix is packed once for all
HELD = caches.size(3) // 4  # bytes of it that are packed at a time then
GROUP = 4  # panels that are packed at a time where a matrix is read along its rows
TILES = 4 if REGISTERS == 32 else 8  # whose rows are packed at a time where they are columns of a
TILE_COLUMNS = TILES * ROWS  # numbers of a row of a that they are
SHALLOW = 8  # numbers k up to which an array that is written to takes longer than the products
WORTH = 3 * 2**13 * VECTOR  # multiply-adds that are worth a thread: some 8 µs


@jit
def _multiply(start, stop, a, W, c, transposed, bias, strips, chunk, rooms):
    # units [start, stop) of c (M, N) = a (M, K) by Wᵀ or W: number u is panel u % strips by rows of chunk u // strips;
    # W as it is, or its panels (see `_panels`); bias (N,) or (0,) is added to each row while it is in the cache
    (M, K), width = a.shape, WIDTH32 if a.itemsize == 4 else WIDTH64
    together = 1 if transposed else GROUP
    room = rooms[-(-start * len(rooms) // (-(-M // chunk) * strips))]  # this thread's
    edge = np.zeros((ROWS, width), a.dtype)
    while start < stop:
        begin, row = start % strips, start // strips * chunk
        end, last = min(strips, begin + stop - start), min(M, row + chunk)
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            for group in range(begin, end, together):
                few = min(together, end - group)
                panels = _panels(W, transposed, group, few, k, depth, room)
                for p in range(few):
                    multiply_panel(a[row:last, k : k + depth], panels[p], edge, c[row:last], (group + p) * width, k > 0)
                    if k + depth == K and len(bias) > 0:
                        add_to_rows(c[row:last], bias, (group + p) * width, min(width, len(bias) - (group + p) * width))
        start += end - begin


@jit(part=True)
def _panels(W, transposed, group, few, k, depth, room):
    # panels [group, group + few) of Wᵀ or W, (few, depth, 2W), from number k on: those of W where it is packed, (strips, K, 2W),
    # else packed now, into `room`
    if W.ndim == 3:
        return W[group : group + few, k : k + depth]
    width = WIDTH32 if W.itemsize == 4 else WIDTH64
    panels = room[: few * depth * width].reshape(few, depth, width)
    if transposed:
        pack_transposed(W, group * width, k, depth, panels[0])
    else:
        pack_rows(W, group * width, k, depth, panels)
    return panels


@jit(counted=False)
def add_to_rows(c, bias, column, columns):
    """c[:, column : column + columns] += bias[column : column + columns]."""
    part = bias[column : column + columns]
    for r in range(len(c)):
        row = c[r, column : column + columns]
        for j in range(len(part)):
            row[j] += part[j]


@jit
def _multiply_transposed(start, stop, a, bs, cs, add, strips, chunk, rooms):
    # units [start, stop), as above, of all c (M, N) = aᵀ b, or += with `add`, whose strips are counted through; a (K, M), each
    # b (K, N), or its panels; left: a in the order that tiles read it in
    (K, M), width = a.shape, WIDTH32 if a.itemsize == 4 else WIDTH64
    together = GROUP if K > SHALLOW else strips
    room = rooms[-(-start * len(rooms) // (-(-M // chunk) * strips))]  # this thread's
    left = room[: chunk * min(DEPTH, K)].reshape(chunk // ROWS, min(DEPTH, K), ROWS)
    edge = np.zeros((ROWS, width), a.dtype)
    while start < stop:
        begin, row = start % strips, start // strips * chunk
        end, last = min(strips, begin + stop - start), min(M, row + chunk)
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            _pack_left(a, row, last, k, depth, left)
            first = 0  # strip of the next b
            for i in range(len(bs)):
                b, c = bs[i], cs[i][row:last]
                own = -(-c.shape[1] // width)
                stop_group = min(end - first, own)
                for group in range(max(begin - first, 0), stop_group, together):
                    few = min(together, stop_group - group)
                    panels = _panels(b, False, group, few, k, depth, room[left.size :])
                    _multiply_left(left, panels, edge, c, group * width, add or k > 0)
                first += own
        start += end - begin


@jit(counted=False)
def _pack_left(a, row, last, first, depth, left):
    # left[i, k, r] = a[first + k, row + i ROWS + r] for k < depth; few tiles at a time, as all would share sets of the cache
    whole = (last - row) // ROWS
    for group in range(0, whole, TILES):
        for k in range(depth):
            fetch_numbers(TILE_COLUMNS, a, first + k + AHEAD, row + group * ROWS)
            for i in range(group, min(whole, group + TILES)):
                copy_numbers(ROWS, a, first + k, row + i * ROWS, left[i], k)
    rest = last - row - whole * ROWS
    for k in range(depth if rest > 0 else 0):
        for r in range(rest):
            left[whole, k, r] = a[first + k, row + whole * ROWS + r]
        left[whole, k, rest:] = 0  # which is multiplied too: chance numbers may be slow ones


@jit(counted=False)
def _multiply_left(left, panels, edge, c, column, add):
    # c[:, column : column + panels 2W] = aᵀ b, or += with `add`, for a packed in `left` and b in `panels`
    tiles, width, deep = -(-len(c) // ROWS), panels.shape[2], panels.shape[1] > SHALLOW
    for p in range(len(panels) if deep else 0):
        for i in range(tiles):
            following = i + 1 < tiles
            fetch_tile(c, (i + 1) * ROWS if following else 0, column + (p if following else p + 1) * width)
            _multiply_left_tile(left[i], panels[p], edge, c, i * ROWS, column + p * width, add)
    for i in range(0 if deep else tiles):  # c is what takes the time: it is written along the memory
        for p in range(len(panels)):
            _multiply_left_tile(left[i], panels[p], edge, c, i * ROWS, column + p * width, add)


@jit(part=True, counted=False)
def _multiply_left_tile(left, panel, edge, c, row, column, add):
    count, columns = min(ROWS, len(c) - row), min(panel.shape[1], c.shape[1] - column)
    if columns < panel.shape[1]:
        copy_corner(c, row, column, edge, 0, 0, count, columns)
        multiply_tile(ROWS, 1, left, 0, count, panel, edge, 0, add)
        copy_corner(edge, 0, 0, c, row, column, count, columns)
    else:
        multiply_tile(ROWS, 1, left, 0, count, panel, c[row:], column, add)


@functools.lru_cache(maxsize=1024)  # a training step has few shapes: 2 of the 11 µs of Python that a product took were this
def _division(M: int, widths: tuple[int, ...], K: int, width: int, threads: int) -> tuple[int, int, int, int]:
    """How several c (M, N), whose N are `widths`, are divided: their strips, rows of a chunk, units, and units worth a thread."""
    strips = sum(-(-N // width) for N in widths)
    chunks = max(-(-M // CHUNK), min(M // 64, -(-4 * threads // strips)), 1)  # some units a thread where strips are few
    chunk = -(-M // (chunks * ROWS)) * ROWS
    units = -(-M // chunk) * strips
    return strips, chunk, units, max(1, WORTH * units // (max(M, FEW) * sum(widths) * K))


def _run(kernel, a, b, c, K, *options, left=0, right=1) -> None:
    """Run a kernel over all units of c (M, N), or of several, with room for what a thread packs of a (`left`) and b (`right`)."""
    every = c if isinstance(c, tuple) else (c,)
    width, widths = width_of(every[0].dtype), tuple([out.shape[1] for out in every])
    strips, chunk, units, grain = _division(len(every[0]), widths, K, width, devices.threads_lately())
    number = devices.parts(units, grain)
    with scratch():
        numbers = left * chunk + right * max(GROUP, strips if K <= SHALLOW else 0) * width  # a k
        rooms = empty((number, numbers * min(DEPTH, K)), every[0].dtype)
        devices.parallel(kernel, units, a, b, c, *options, strips, chunk, rooms, number=number)


def product(a, W, out, *, transposed: bool, bias=None) -> None:
    """out (M, N) = a (M, K) by Wᵀ (``transposed``, W (N, K)) or by W (K, N), on minilm's own threads; each row plus `bias` (N,).

    Not by BLAS: its idle threads keep their cores busy for tens of milliseconds after each product, and the kernels that come
    next run at half their speed (measured: a training step of a character LSTM took 26 ms so, and takes 14); and its bits depend
    on its threads, on the processor, and on how many rows there are. Here a row's bits depend on no other row.

    Under ``minilm.precision("bf16")`` a product of float32 is `minilm.ops.bfloat16`'s.
    """
    if precision.bfloat16(a.dtype):
        bfloat16.product(a, W, out, transposed=transposed, bias=bias)
        return
    rows = len(a)
    if not rows or not W.size:
        out[...] = 0 if bias is None else bias
    elif rows == 1:
        row_product(a[0], W, out[0], transposed=transposed)
        if bias is not None:
            out += bias
    else:
        bias = out[0, :0] if bias is None else bias
        if rows < MANY * CHUNK or W.nbytes > HELD:
            _run(_multiply, a, W, out, a.shape[1], transposed, bias)
            return
        with scratch():
            _run(_multiply, a, *packed((W,), transposed), out, a.shape[1], transposed, bias, right=0)


def transposed_product(a, b, out) -> None:
    """out (M, N) = aᵀ b for a (K, M), b (K, N), on minilm's own threads, in the precision that `product` has."""
    transposed_products(a, (b,), (out,))


def transposed_products(a, bs: tuple, outs: tuple) -> None:
    """`transposed_product` of each b (K, N) and its out, for which a is packed once; all b lie in memory in one way."""
    if precision.bfloat16(a.dtype):
        for b, out in zip(bs, outs, strict=True):
            bfloat16.transposed_product(a, b, out)
        return
    if len(a) == 0 or all(out.size == 0 for out in outs):
        for out in outs:
            out[...] = 0
        return
    K, M, N = *a.shape, sum(out.shape[1] for out in outs)
    rows = HELD // (N * a.itemsize) // DEPTH * DEPTH  # of all b that are packed at a time
    if M < MANY * CHUNK or K < DEPTH or rows == 0:
        _run(_multiply_transposed, a, bs, outs, K, False, left=1)
        return
    for k in range(0, K, rows):
        with scratch():
            panels = packed([b[k : k + rows] for b in bs], False)
            _run(_multiply_transposed, a[k : k + rows], panels, outs, min(rows, K - k), k > 0, left=1, right=0)
