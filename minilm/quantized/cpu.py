"""Products by quantised weights on the CPU, on minilm's threads: `minilm.quantized.spec`."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import target
from minilm.ops.memory import address
from minilm.ops.tile import ROWS as TILE_ROWS
from minilm.ops.tile import copy_corner, multiply_panel
from minilm.ops.vectors import VECTOR
from minilm.ops.workspace import empty, scratch
from minilm.quantized.codes import quantize_rows
from minilm.quantized.dot import WIDTH, multiply_rows, multiply_rows_int4
from minilm.quantized.matrix_tile import by_instructions, no_tiles
from minilm.quantized.packing import BFloat16, Int4, Packed
from minilm.quantized.widened import TOGETHER, multiply_row

ROWS = 6 if VECTOR == 64 else 4  # of a tile of int8, see `minilm.quantized.dot`
FEW = 2  # rows that read a panel one by one
WORTH = 2**20  # multiply-adds that are worth a thread
DEPTH = 128  # numbers of a row of bfloat16 that are widened at a time


# --- kernels ----------------------------------------------------------------------------------------------------------


def kernel_of(multiply_rows, whole_tiles):
    """The kernel of a form of weights: its register tile, and what multiplies whole tiles of rows before, where there is such
    (`minilm.quantized.matrix_tile`)."""

    @jit
    def multiply(start, stop, codes, scales, begin, panels, factors, bias, y):
        # panels [start, stop) of y (N, O); codes (N, K'), scales and begin (G, N), panels (P, K'/4 or K'/8, 2W, 4), factors
        # (P, G, 2W), bias (O,), or empty for none
        (N, O), (_, G, _) = y.shape, factors.shape
        length, steps, panel_step = codes.shape[1], panels.shape[1] // G, panels.shape[1] * WIDTH * 4
        edge, shift = np.empty((ROWS, WIDTH), np.float32), np.zeros(WIDTH, np.float32)
        for p in range(start, stop):
            column, columns = p * WIDTH, min(WIDTH, O - p * WIDTH)
            panel, factor = address(panels) + p * panel_step, address(factors) + p * G * WIDTH * 4
            for o in range(columns if len(bias) else 0):
                shift[o] = bias[column + o]
            whole = columns == WIDTH
            to, step = address(shift), y.strides[0] if whole else WIDTH * 4
            own, first, number = address(codes), address(begin), address(scales)
            place = address(y) + column * 4
            row = whole_tiles(own, length, N, panel, steps, G, first, number, N * 4, factor, to, columns, place, y.strides[0])
            while row < N:
                count = min(ROWS, N - row) if N - row > FEW else 1
                own, first, number = address(codes) + row * length, address(begin) + row * 4, address(scales) + row * 4
                out = address(y) + row * step + column * 4 if whole else address(edge)
                if count > 1:
                    multiply_rows(ROWS, own, length, count, panel, steps, G, first, number, N * 4, factor, to, out, step)
                else:
                    multiply_rows(1, own, length, 1, panel, steps, G, first, number, N * 4, factor, to, out, step)
                if not whole:
                    copy_corner(edge, 0, 0, y, row, column, count, columns)
                row += count

    return multiply


multiply_int8 = kernel_of(multiply_rows, by_instructions if target.int8_tiles() else no_tiles)
multiply_int4 = kernel_of(multiply_rows_int4, no_tiles)


@jit
def multiply_bfloat16(start, stop, x, panels, bias, y):
    # panels [start, stop) of y (N, O); x (N, K), panels (P, K, 2W), bias (O,), or empty for none: few rows one by one, for more
    # the panel becomes float32
    (N, O), (_, K, _) = y.shape, panels.shape
    if N > FEW:
        return _multiply_widened(start, stop, x, panels, bias, y)
    out, p = np.empty(TOGETHER * WIDTH, np.float32), start
    while p < stop:
        count = TOGETHER if p + TOGETHER <= stop else 1
        first, last = p * WIDTH, min(O, (p + count) * WIDTH)
        for n in range(N):
            row, place = address(x) + n * x.strides[0], address(panels) + p * panels.strides[0]
            if count == TOGETHER:
                multiply_row(TOGETHER, row, K, place, address(out))
            else:
                multiply_row(1, row, K, place, address(out))
            for o in range(first, last):
                y[n, o] = out[o - first]
        _shift(first, last - first, bias, y)
        p += count


@jit
def _multiply_widened(start, stop, x, panels, bias, y):
    # the same by float32 of some rows of a panel at a time
    K, O = x.shape[1], y.shape[1]
    panel = np.empty((DEPTH, WIDTH), np.float32)
    bits = panel.view(np.uint32)
    edge = np.empty((TILE_ROWS, WIDTH), np.float32)
    for p in range(start, stop):
        for first in range(0, K, DEPTH):
            depth = min(DEPTH, K - first)
            for k in range(depth):
                halves = panels[p, first + k]
                for j in range(WIDTH):
                    bits[k, j] = np.uint32(halves[j]) << np.uint32(16)
            multiply_panel(x[:, first : first + depth], panel[:depth], edge, y, p * WIDTH, first > 0)
        _shift(p * WIDTH, min(WIDTH, O - p * WIDTH), bias, y)


@jit
def _shift(column, columns, bias, y):
    # columns [column, column + columns) of y (N, O) += bias (O,), which may be empty
    for n in range(len(y) if len(bias) else 0):
        for o in range(column, column + columns):
            y[n, o] += bias[o]


# --- calls ------------------------------------------------------------------------------------------------------------


NO_BIAS = np.empty(0, np.float32)


def product(x: np.ndarray, W: Packed, out: np.ndarray, bias: np.ndarray = NO_BIAS) -> None:
    """out (N, O) ≈ x (N, K) Wᵀ + bias, all float32; bias is (O,), or empty for none."""
    rows, K = x.shape
    if not out.size or not K:
        out[...] = bias if len(bias) else 0
        return
    grain = max(1, WORTH // (rows * K * WIDTH))
    if isinstance(W, BFloat16):
        devices.parallel(multiply_bfloat16, len(W.panels), x, W.panels, bias, out, grain=grain)
        return
    G = W.scales.shape[1]
    with scratch():
        codes = empty((rows, G * W.group), np.int8)  # (N, K')
        scales, begin = empty((G, rows), np.float32), empty((G, rows), np.int32)  # (G, N) each
        devices.parallel(quantize_rows, rows, x, W.group, codes, scales, begin, grain=max(1, 2**16 // K))
        multiply = multiply_int4 if isinstance(W, Int4) else multiply_int8
        devices.parallel(multiply, len(W.panels), codes, scales, begin, W.panels, W.scales, bias, out, grain=grain)
