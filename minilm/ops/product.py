"""Matrix products on minilm's own threads, by the register tile of `minilm.ops.tile`.

`product` is a by Wᵀ or W, `transposed_product` aᵀ by b; `packed` is for who multiplies by the same weights again and again.
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.row import row_product
from minilm.ops.tile import FEW, ROWS, WIDTH32, WIDTH64, fetch, multiply, multiply_panel, multiply_tile, transpose_block, width_of
from minilm.ops.workspace import empty, scratch

CHUNK = 64  # rows of a that are multiplied by all panels while they sit in the cache
WORTH = 2**18  # multiply-adds that are worth a thread
SMALL = 2**17  # multiply-adds below which W is not packed as a whole
FEWEST = CHUNK  # rows of a below which it is not either
SHALLOW = 32  # rows of b that are gone through at a time where they are read as they lie
DEPTH = 128  # rows of b that are gone through at a time where the sums run over thousands


@jit
def _multiply_transposed_strips(start, stop, a, W, c):
    # strips [start, stop) of a panel's columns of c (M, N) = a (M, K) Wᵀ, W (N, K): some rows of the panel at a time are packed
    # where they stay in the nearest cache, and multiplied at once by all rows of a
    K, N = a.shape[1], len(W)
    width, lanes = (WIDTH32, WIDTH32 // 2) if a.itemsize == 4 else (WIDTH64, WIDTH64 // 2)
    panel = np.zeros((DEPTH, width), a.dtype)
    edge = np.zeros((ROWS, width), a.dtype)
    for column in range(start * width, min(N, stop * width), width):
        columns = min(width, N - column)
        for first in range(0, K, DEPTH):
            depth = min(DEPTH, K - first)
            whole, filled = depth - depth % lanes, columns - columns % lanes
            for j in range(0, filled, lanes):
                for k in range(0, whole, lanes):
                    transpose_block(W, column + j, first + k, panel, k, j, width)
            for j in range(columns):
                for k in range(whole if j < filled else 0, depth):
                    panel[k, j] = W[column + j, first + k]
            multiply_panel(a[:, first : first + depth], panel[:depth], edge, c, column, first > 0)


@jit
def _multiply_strips(start, stop, a, W, c):
    # the same for W (K, N), whose rows are a panel's rows as they lie: few of them at a time, in the order of the memory
    K, N = a.shape[1], c.shape[1]
    width, lanes = (WIDTH32, WIDTH32 // 2) if a.itemsize == 4 else (WIDTH64, WIDTH64 // 2)
    panel = np.zeros((SHALLOW, width), a.dtype)
    edge = np.zeros((ROWS, width), a.dtype)
    for first in range(0, K, SHALLOW):
        depth = min(SHALLOW, K - first)
        part, add = a[:, first : first + depth], first > 0
        for column in range(start * width, min(N, stop * width), width):
            for k in range(first, first + depth):
                fetch(W, k, column + 2 * width)
                fetch(W, k, column + 2 * width + lanes)
            if column + width > N:
                panel[:depth, : N - column] = W[first : first + depth, column:]
                multiply_panel(part, panel[:depth], edge, c, column, add)
            else:
                multiply_panel(part, W[first : first + depth, column : column + width], edge, c, column, add)


@jit
def _multiply_chunks(start, stop, a, panels, c):
    # chunks [start, stop) of CHUNK rows: they stay in the cache while all panels pass by
    for chunk in range(start, stop):
        multiply(chunk * CHUNK, min(len(a), (chunk + 1) * CHUNK), a, panels, c, False)


@jit
def _multiply_transposed(start, stop, a, b, c):
    # strips [start, stop) of two tiles' rows of c (M, N) = aᵀ b; a (K, M), b (K, N), DEPTH rows of both at a time
    (K, M), N = a.shape, b.shape[1]
    strip = np.empty((DEPTH, 2 * ROWS), a.dtype)  # a's numbers lie M apart, often a multiple of what one set of the cache holds
    width = WIDTH32 if a.itemsize == 4 else WIDTH64
    whole = N - N % width
    right = np.empty((DEPTH if whole < N else 0, width), a.dtype)  # the columns of b that fill no panel
    edge = np.empty((ROWS if whole < N else 0, width), a.dtype)  # and what they give
    for first in range(0, K, DEPTH):
        depth = min(DEPTH, K - first)
        add = first > 0
        if whole < N:
            right[:depth, : N - whole] = b[first : first + depth, whole:]
        for row in range(start * 2 * ROWS, min(M, stop * 2 * ROWS), 2 * ROWS):
            rows = min(2 * ROWS, M - row)
            if rows == 2 * ROWS:
                for k in range(depth):
                    for r in range(2 * ROWS):  # a constant, for the compiler to make one copy of a vector of it
                        strip[k, r] = a[first + k, row + r]
            else:
                strip[:depth, :rows] = a[first : first + depth, row:]
            for tile in range(0, rows, ROWS):
                part, count = strip[:depth, tile:], min(ROWS, rows - tile)
                for column in range(0, whole, width):
                    panel = b[first : first + depth, column : column + width]
                    multiply_tile(ROWS, 1, part, 0, count, panel, c[row + tile :], column, add)
                if whole < N:
                    edge[:count, : N - whole] = c[row + tile : row + tile + count, whole:]
                    multiply_tile(ROWS, 1, part, 0, count, right[:depth], edge, 0, add)
                    c[row + tile : row + tile + count, whole:] = edge[:count, : N - whole]


@jit
def _pack_rows(start, stop, Ws, all_panels):
    # panels[p, k, j] = W[p * width + j, k], panels [start, stop) of those of all W (N, K) counted through
    for i in range(len(Ws)):
        W, panels = Ws[i], all_panels[i]
        N, K = W.shape
        width = panels.shape[2]
        for p in range(max(start, 0), min(stop, len(panels))):
            for j in range(width):
                n = p * width + j
                if n < N:
                    for k in range(K):
                        panels[p, k, j] = W[n, k]
                else:
                    for k in range(K):
                        panels[p, k, j] = 0
        start -= len(panels)
        stop -= len(panels)


@jit
def _pack_columns(start, stop, Ws, all_panels):
    # panels[p, k, j] = W[k, p * width + j], rows [start, stop) of those of all W (K, N) counted through: as they lie in memory
    for i in range(len(Ws)):
        W, panels = Ws[i], all_panels[i]
        K, N = W.shape
        width = WIDTH32 if W.itemsize == 4 else WIDTH64  # a constant, for the compiler to copy vectors
        for k in range(max(start, 0), min(stop, K)):
            for p in range(N // width):
                for j in range(width):
                    panels[p, k, j] = W[k, p * width + j]
            if N % width:
                panels[N // width, k, : N % width] = W[k, N - N % width :]
                panels[N // width, k, N % width :] = 0
        start -= K
        stop -= K


def packed(Ws, transposed: bool) -> tuple:
    """For each W the panels (panels, K, 2W) that `multiply` takes: of Wᵀ (``transposed``, W (N, K)) or of W (K, N)."""
    every, width = [], width_of(Ws[0].dtype)
    for W in Ws:
        N, K = W.shape if transposed else W.shape[::-1]
        every.append(empty((-(-N // width), K, width), W.dtype))
    numbers = sum(panels.size for panels in every)
    units = sum(len(panels) if transposed else len(W) for W, panels in zip(Ws, every, strict=True))
    kernel = _pack_rows if transposed else _pack_columns
    devices.parallel(kernel, units, tuple(Ws), tuple(every), grain=max(1, 2**16 * units // max(1, numbers)))
    return tuple(every)


def product(a, W, out, *, transposed: bool) -> None:
    """out (M, N) = a (M, K) by Wᵀ (``transposed``, W (N, K)) or by W (K, N), on minilm's own threads.

    Not by BLAS: its idle threads keep their cores busy for tens of milliseconds after each product, and the kernels that come
    next run at half their speed (measured: a training step of a character LSTM took 26 ms so, and takes 14); and its bits depend
    on its threads, on the processor, and on how many rows there are. Here a row's bits depend on no other row.
    """
    rows = len(a)
    if not rows or not W.size:
        out[...] = 0
        return
    if rows == 1:
        row_product(a[0], W, out[0], transposed=transposed)
        return
    if rows < FEWEST or rows * W.size < SMALL:  # not worth packing all of W for
        kernel = _multiply_transposed_strips if transposed else _multiply_strips
        strips = -(-out.shape[1] // width_of(W.dtype))
        devices.parallel(kernel, strips, a, W, out, grain=max(1, WORTH * strips // (max(rows, FEW) * W.size)))
        return
    with scratch():
        (panels,) = packed([W], transposed)
        devices.parallel(_multiply_chunks, -(-rows // CHUNK), a, panels, out, grain=max(1, WORTH // (CHUNK * W.size)))


def transposed_product(a, b, out) -> None:
    """out (M, N) = aᵀ b for a (K, M), b (K, N), on minilm's own threads."""
    if len(a) == 0:
        out[...] = 0
        return
    strips = -(-a.shape[1] // (2 * ROWS))
    devices.parallel(_multiply_transposed, strips, a, b, out, grain=max(1, WORTH // max(1, 2 * ROWS * b.size)))
