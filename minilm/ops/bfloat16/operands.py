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
from minilm.ops.memory import address, numbers, place
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


# --- whole vectors: addresses, and bytes from row to row ----------------------------------------------------------------

_index, _lane = ir.IntType(64), ir.IntType(32)
_words = ir.VectorType(_lane, LANES)


def _load(builder, address, count):
    """A vector of rounded numbers, by one instruction where the processor has it."""
    loaded = builder.load(builder.inttoptr(address, ir.VectorType(ir.FloatType(), count).as_pointer()))
    loaded.align = BYTES
    return builder.fptrunc(loaded, ir.VectorType(BFLOAT, count))


def _along(builder, address):
    """The words of 32 neighbours."""
    return builder.bitcast(_load(builder, address, 2 * LANES), _words)


def _across(builder, address, step):
    """The words of 16 numbers and those below them."""
    halves = ir.VectorType(ir.IntType(16), LANES)
    rows = (_load(builder, row, LANES) for row in (address, builder.add(address, step)))
    first, second = (builder.zext(builder.bitcast(row, halves), _words) for row in rows)
    return builder.or_(first, builder.shl(second, ir.Constant(_words, [16] * LANES)))


def _store(builder, words, address):
    builder.store(words, builder.inttoptr(address, _words.as_pointer())).align = BYTES


def _below(builder, address, step, rows):
    return builder.add(address, builder.mul(_index(rows), step))


@intrinsic
def _pack_along(typingctx, source, target):
    """16 words of 32 neighbours."""

    def codegen(context, builder, signature, arguments):
        source, target = arguments
        _store(builder, _along(builder, source), target)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def _pack_across(typingctx, source, step, target):
    """WIDTH words of as many numbers and those below them."""

    def codegen(context, builder, signature, arguments):
        source, step, target = arguments
        for offset in range(0, WIDTH * BYTES, LANES * BYTES):
            words = _across(builder, builder.add(source, _index(offset)), step)
            _store(builder, words, builder.add(target, _index(offset)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), codegen


@intrinsic(prefer_literal=True)
def transpose(typingctx, along, source, source_step, target, target_step):
    """A block of 16 by 16 words, target[i] = all words number i of the source's rows.

    With `along` = 1 the source is 16 rows of 32 numbers, pairs along a row; with 0 it is 32 rows of 16, pairs of rows. In stage
    d = 1, 2, 4, 8 vectors d apart exchange the words that lie d off the diagonal.
    """
    if not isinstance(along, types.IntegerLiteral):
        return None
    signature = types.void(along, *[types.intp] * 4)

    def codegen(context, builder, signature, arguments):
        _, source, step, target, target_step = arguments
        if along.literal_value:
            block = [_along(builder, _below(builder, source, step, r)) for r in range(LANES)]
        else:
            block = [_across(builder, _below(builder, source, step, 2 * r), step) for r in range(LANES)]
        d = 1
        while d < LANES:
            low = ir.Constant(_words, [i if not i & d else LANES + i - d for i in range(LANES)])
            high = ir.Constant(_words, [i + d if not i & d else LANES + i for i in range(LANES)])
            for i in range(LANES):
                if not i & d:
                    pair = block[i], block[i + d]
                    block[i], block[i + d] = builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)
            d *= 2
        for i in range(LANES):
            _store(builder, block[i], _below(builder, target, target_step, i))
        return context.get_dummy_value()

    return signature, codegen


# --- packing ------------------------------------------------------------------------------------------------------------


@jit
def pack_panels(b, step, depth, columns, panels, panel_step):
    """Words of b (depth, columns) as panels (., WIDTH), filled up to a multiple of DEPTH.

    A row of all panels at a time, along the memory: of one panel's part of each row, a row apart, few sets of the cache would be
    used.
    """
    for k in range(0, -(-depth // DEPTH) * DEPTH, 2):
        for p in range(-(-columns // WIDTH)):
            left = columns - p * WIDTH
            source, target = b + k * step + p * WIDTH * BYTES, panels + p * panel_step + k // 2 * WIDTH * BYTES
            if left >= WIDTH and k + 1 < depth:
                _pack_across(source, step, target)
            else:
                _pack_edge(source, step, depth - k, left, target)


@jit
def _pack_edge(source, step, rows, columns, target):
    """`_pack_across` where b ends: of `rows` rows, if they are fewer than two, and `columns` columns."""
    first, second, row = numbers(source, WIDTH, WORD), numbers(source + step, WIDTH, WORD), numbers(target, WIDTH, WORD)
    for j in range(WIDTH):
        lower = first[j] if rows > 0 and j < columns else WORD
        row[j] = _word(lower, second[j] if rows > 1 and j < columns else WORD)


@jit
def _filled(source, step, rows, columns, block):
    """block (., .) = rows of the source, and zeros beside and below them."""
    for r in range(block.shape[0]):
        row = numbers(source + r * step, columns, WORD)
        for k in range(block.shape[1]):
            block[r, k] = row[k] if r < rows and k < columns else WORD


@jit
def pack_panels_transposed(W, step, depth, columns, panels, panel_step):
    """The same of b = Wᵀ, W (columns, depth)."""
    block = np.empty((LANES, DEPTH), np.uint32)
    for j in range(0, -(-columns // WIDTH) * WIDTH, LANES):
        rows, panel = min(LANES, max(0, columns - j)), panels + j // WIDTH * panel_step + j % WIDTH * BYTES
        for k in range(0, depth, DEPTH):
            target = panel + k // 2 * WIDTH * BYTES
            source, count = W + j * step + k * BYTES, min(DEPTH, depth - k)
            if rows == LANES and count == DEPTH:
                transpose(1, source, step, target, WIDTH * BYTES)
            else:
                _filled(source, step, rows, count, block)
                transpose(1, address(block), DEPTH * BYTES, target, WIDTH * BYTES)
    block[0, 0] = 0  # in use until here


@jit
def round_row(source, count, target):
    """One row of numbers as words, zeros beyond `count` up to a multiple of DEPTH."""
    whole = count - count % DEPTH
    for k in range(0, whole, DEPTH):
        _pack_along(source + k * BYTES, target + k // 2 * BYTES)
    row, out = numbers(source, count, WORD), numbers(target, count, WORD)
    for k in range(whole, -(-count // DEPTH) * DEPTH, 2):
        out[k // 2] = _word(row[k] if k < count else WORD, row[k + 1] if k + 1 < count else WORD)


@jit
def _round_rows(start, stop, a, step, K, out):
    # rows [start, stop) of a (M, K) -> out (M, words + padding)
    for m in range(start, stop):
        round_row(a + m * step, K, address(out) + m * out.strides[0])
    out[0, 0] = out[0, 0]  # in use until here


@jit
def _round_columns(start, stop, a, step, K, M, out):
    # rows [start, stop) of out, 16 at a time, of the transpose of a (K, M)
    block = np.empty((DEPTH, LANES), np.uint32)
    out_step = out.strides[0]
    for k in range(0, K, DEPTH):
        depth = min(DEPTH, K - k)
        for m in range(start * LANES, min(M, stop * LANES), LANES):
            source, columns = a + k * step + m * BYTES, min(LANES, M - m)
            target = address(out) + m * out_step + k // 2 * BYTES
            if columns == LANES and depth == DEPTH:
                transpose(0, source, step, target, out_step)
            else:
                _filled(source, step, depth, columns, block)
                transpose(0, address(block), LANES * BYTES, target, out_step)
    block[0, 0] = out[0, 0]  # in use until here


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
