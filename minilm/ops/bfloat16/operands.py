"""float32 matrices as operands of a bfloat16 product: rounded to nearest, ties to even, and packed in the same pass.

A bfloat16 is the upper half of a float32: its sign, its 8 bits of exponent, and 7 of the 23 bits of its significand. Both
instructions that multiply them, `minilm.ops.bfloat16.pair_tile` and `matrix_tile`, take two numbers at once that are neighbours
along k, the axis that is summed over: a word of 32 bits, number 2i in its lower half and 2i + 1 in its upper. A product c = a b
with a (M, K) and b (K, N) reads

========  ==========================  =====================================================================
operand   array                       word
========  ==========================  =====================================================================
a         rows (M, words)             rows[m, i] = a[m, 2i], a[m, 2i + 1]: for a matrix that lies so, its rows
b         panels (P, words, WIDTH)    panels[p, i, j] = b[2i, WIDTH p + j], b[2i + 1, WIDTH p + j]
========  ==========================  =====================================================================

Either is made from a matrix that lies in memory as it is read, or transposed; then blocks of 16 by 16 words change their rows
with their columns in registers. What is missing of a word or of a panel is zero. Reading 4 bytes and writing 2 a number, a pass
costs less than a copy.

NaN stays NaN. Of numbers below 2**-126, the smallest that has all its bits, the instructions make zeros.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.bfloat16.llvm import BFLOAT
from minilm.ops.memory import numbers, place
from minilm.ops.workspace import empty

WIDTH = 32  # columns of a panel
LANES = 16  # words of a vector, or of a row of a matrix tile
DEPTH = 2 * LANES  # numbers of such a row: rows and panels are filled up with zeros to a multiple of it
WORD, BYTES = np.uint32(0), 4


@jit(part=True)
def _rounded(bits):
    """Of a float32's bits, those of the nearest bfloat16: in the upper half of the word."""
    nearest = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    is_nan = bits & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000)
    return bits | np.uint32(0x400000) if is_nan else nearest


@jit(part=True)
def _word(first, second):
    return _rounded(first) >> np.uint32(16) | _rounded(second) & np.uint32(0xFFFF0000)


@intrinsic(prefer_literal=True)
def _transpose(typingctx, along, source, source_step, target, target_step):
    """A block of 16 by 16 words, target[i] = all words number i of the source's rows.

    With `along` = 1 the source is 16 rows of 32 float32, pairs along a row; with 0 it is 32 rows of 16, pairs of rows, whose
    words are transposed likewise. In stage d = 1, 2, 4, 8 vectors d apart exchange the words that lie d off the diagonal.
    """
    if not isinstance(along, types.IntegerLiteral):
        return None
    signature = types.void(along, *[types.intp] * 4)

    def codegen(context, builder, signature, arguments):
        _, source, source_step, target, target_step = arguments
        index, lane = ir.IntType(64), ir.IntType(32)
        words = ir.VectorType(lane, LANES)

        def at(start, step, r, offset=0):
            return builder.add(builder.add(start, builder.mul(index(r), step)), index(offset))

        def load(r, count, offset=0):
            vector = ir.VectorType(ir.FloatType(), count)
            loaded = builder.load(builder.inttoptr(at(source, source_step, r, offset), vector.as_pointer()))
            loaded.align = BYTES
            return builder.fptrunc(loaded, ir.VectorType(BFLOAT, count))

        def widened(r):
            halves = builder.bitcast(load(r, LANES), ir.VectorType(ir.IntType(16), LANES))
            return builder.zext(halves, words)

        if along.literal_value:
            block = [builder.bitcast(load(r, 2 * LANES), words) for r in range(LANES)]
        else:
            sixteen = ir.Constant(words, [16] * LANES)
            block = [builder.or_(widened(2 * i), builder.shl(widened(2 * i + 1), sixteen)) for i in range(LANES)]
        d = 1
        while d < LANES:
            low = ir.Constant(words, [i if not i & d else LANES + i - d for i in range(LANES)])
            high = ir.Constant(words, [i + d if not i & d else LANES + i for i in range(LANES)])
            for i in range(LANES):
                if not i & d:
                    pair = block[i], block[i + d]
                    block[i], block[i + d] = builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)
            d *= 2
        for i in range(LANES):
            stored = builder.store(block[i], builder.inttoptr(at(target, target_step, i), words.as_pointer()))
            stored.align = BYTES
        return context.get_dummy_value()

    return signature, codegen


@jit
def pack_panel(b, step, depth, columns, panel):
    """Words of b (depth, columns) as one panel, (., WIDTH), filled up to a multiple of DEPTH.

    Addresses, and bytes from row to row.
    """
    for k in range(0, -(-depth // DEPTH) * DEPTH, 2):
        row = numbers(panel + k // 2 * WIDTH * BYTES, WIDTH, WORD)
        first, second = numbers(b + k * step, WIDTH, WORD), numbers(b + (k + 1) * step, WIDTH, WORD)
        if columns == WIDTH and k + 1 < depth:
            for j in range(WIDTH):  # a constant, for whole vectors
                row[j] = _word(first[j], second[j])
        else:
            for j in range(WIDTH):
                lower = first[j] if k < depth and j < columns else WORD
                row[j] = _word(lower, second[j] if k + 1 < depth and j < columns else WORD)


@jit
def _filled(source, step, rows, columns, block):
    """block (., .) = rows of the source, and zeros beside and below them."""
    for r in range(block.shape[0]):
        row = numbers(source + r * step, columns, WORD)
        for k in range(block.shape[1]):
            block[r, k] = row[k] if r < rows and k < columns else WORD


@jit
def pack_panel_transposed(W, step, depth, columns, panel):
    """The same of b = Wᵀ, W (columns, depth)."""
    block = np.empty((LANES, DEPTH), np.uint32)
    for j in range(0, WIDTH, LANES):
        rows = min(LANES, max(0, columns - j))
        for k in range(0, depth, DEPTH):
            target = panel + (k // 2 * WIDTH + j) * BYTES
            source, count = W + j * step + k * BYTES, min(DEPTH, depth - k)
            if rows == LANES and count == DEPTH:
                _transpose(1, source, step, target, WIDTH * BYTES)
            else:
                _filled(source, step, rows, count, block)
                _transpose(1, block.ctypes.data, DEPTH * BYTES, target, WIDTH * BYTES)


@jit
def round_row(row, count, out):
    """One row of numbers as words out (words,), zeros beyond `count`."""
    for i in range(count // 2):
        out[i] = _word(row[2 * i], row[2 * i + 1])
    for i in range(count // 2, len(out)):
        out[i] = _word(row[count - 1], WORD) if 2 * i < count else WORD


@jit
def _round_rows(start, stop, a, step, K, out):
    # rows [start, stop) of a (M, K) -> out (M, words + padding)
    words = -(-K // DEPTH) * LANES
    for m in range(start, stop):
        round_row(numbers(a + m * step, K, WORD), K, out[m, :words])


@jit
def _round_columns(start, stop, a, step, K, M, out):
    # rows [start, stop) of out, 16 at a time, of the transpose of a (K, M)
    block = np.empty((DEPTH, LANES), np.uint32)
    out_step = out.strides[0]
    for k in range(0, K, DEPTH):
        depth = min(DEPTH, K - k)
        for m in range(start * LANES, min(M, stop * LANES), LANES):
            source, columns = a + k * step + m * BYTES, min(LANES, M - m)
            target = out[m:, k // 2 :]
            if columns == LANES and depth == DEPTH:
                _transpose(0, source, step, target.ctypes.data, out_step)
            else:
                _filled(source, step, depth, columns, block)
                _transpose(0, block.ctypes.data, LANES * BYTES, target.ctypes.data, out_step)


def rows(a, transposed: bool) -> np.ndarray:
    """The left operand, (M, words + padding): of a (M, K), or with `transposed` of the transpose of a (K, M)."""
    K, M = a.shape if transposed else a.shape[::-1]
    lines = -(-K // DEPTH)
    lines += 1 - lines % 2  # an odd number of the cache's lines: rows do not meet in few of its sets
    out = empty((-(-M // DEPTH) * DEPTH, lines * LANES), np.uint32)  # whole matrix tiles of rows
    if transposed:
        units = -(-M // LANES)
        devices.parallel(_round_columns, units, *place(a), K, M, out, grain=max(1, 2**16 // (LANES * max(1, K))))
    else:
        devices.parallel(_round_rows, M, *place(a), K, out, grain=max(1, 2**16 // max(1, K)))
    return out
