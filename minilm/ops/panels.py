"""Packing: a part of a matrix copied, or transposed, into panels that the register tile reads in the order of the memory.

A panel is (K, 2W), see `minilm.ops.tile`: its row k holds 2W columns of the matrix at k. It is packed from Wᵀ, where those
numbers lie a row of W apart and a block of W by W of them is transposed in registers, or from W, where they lie side by side.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops.tile import WIDTH32, WIDTH64, fetch_numbers, width_of
from minilm.ops.vectors import emit_fetch, emit_transposed, kind
from minilm.ops.workspace import empty

AHEAD = 16  # rows further on that are fetched where a matrix is read across its rows, of which a processor guesses nothing


def _places(builder, array, rows, first, column, size, vector):
    """Where the numbers from `column` on lie in each of `rows` rows from `first` on."""
    index = ir.IntType(64)
    step = builder.extract_value(array.strides, 0)
    begin = builder.add(builder.ptrtoint(array.data, index), builder.mul(column, index(size)))
    offsets = (builder.mul(builder.add(first, index(i)), step) for i in range(rows))
    return [builder.inttoptr(builder.add(begin, offset), vector.as_pointer()) for offset in offsets]


@intrinsic
def transpose_block(typingctx, a, row, k, b, at, column, ahead):
    """b[at : at + W, column : column + W] = a[row : row + W, k : k + W]ᵀ: loads and stores of whole vectors of W numbers.

    The same place `ahead` rows further on is fetched into the second cache; there may be none.
    """
    signature = types.void(a, types.intp, types.intp, b, types.intp, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):
        a_value, row, k, b_value, at, column, ahead = arguments
        A, P = (make_array(signature.args[i])(context, builder, value) for i, value in ((0, a_value), (3, b_value)))
        real, size, lanes = kind(signature.args[0].dtype)
        vector, block = ir.VectorType(real, lanes), []
        further = builder.mul(ahead, builder.extract_value(A.strides, 0))
        for place in _places(builder, A, lanes, row, k, size, vector):
            block.append(builder.load(place, align=size))
            emit_fetch(builder, builder.add(builder.ptrtoint(place, ir.IntType(64)), further))
        for numbers, place in zip(
            emit_transposed(builder, block), _places(builder, P, lanes, at, column, size, vector), strict=True
        ):
            builder.store(numbers, place, align=size)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def copy_numbers(typingctx, count, a, row, column, b, at):
    """b[at, :count] = a[row, column : column + count]; `count` is a constant: as few loads and stores as the vectors allow."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    signature = types.void(count, a, types.intp, types.intp, b, types.intp)

    def codegen(context, builder, signature, arguments):
        _, a_value, row, column, b_value, at = arguments
        A, P = (make_array(signature.args[i])(context, builder, value) for i, value in ((1, a_value), (4, b_value)))
        real, size, _ = kind(signature.args[1].dtype)
        vector = ir.VectorType(real, count.literal_value)
        (source,), (to,) = (
            _places(builder, array, 1, first, start, size, vector)
            for array, first, start in ((A, row, column), (P, at, ir.IntType(64)(0)))
        )
        builder.store(builder.load(source, align=size), to, align=size)
        return context.get_dummy_value()

    return signature, codegen


@jit(counted=False)
def pack_transposed(W, column, first, depth, panel):
    """panel[k, j] = W[column + j, first + k] for k < depth, W (N, K); zero beyond row N of W."""
    width = WIDTH32 if W.itemsize == 4 else WIDTH64
    lanes, columns = width // 2, min(width, len(W) - column)
    whole, filled = depth - depth % lanes, columns - columns % lanes
    for j in range(0, filled, lanes):
        for k in range(0, whole, lanes):
            transpose_block(W, column + j, first + k, panel, k, j, width)
    for j in range(columns):
        for k in range(whole if j < filled else 0, depth):
            panel[k, j] = W[column + j, first + k]
    for k in range(depth if columns < width else 0):
        panel[k, columns:] = 0


@jit(counted=False)
def pack_rows(W, column, first, depth, panels):
    """panels[p, k, j] = W[first + k, column + p 2W + j] for k < depth and all p, W (K, N); zero beyond column N of W.

    Several panels at a time: rows are read along the memory. One panel's part of each, a row apart, would leave most of each page
    and of each set of the cache unused.
    """
    width = WIDTH32 if W.itemsize == 4 else WIDTH64
    whole = min(len(panels), (W.shape[1] - column) // width)
    for k in range(depth):
        for p in range(whole):
            at = column + p * width
            if W.itemsize == 4:
                fetch_numbers(WIDTH32, W, first + k + AHEAD, at)
                copy_numbers(WIDTH32, W, first + k, at, panels[p], k)
            else:
                fetch_numbers(WIDTH64, W, first + k + AHEAD, at)
                copy_numbers(WIDTH64, W, first + k, at, panels[p], k)
    for p in range(whole, len(panels)):
        at = column + p * width
        columns = W.shape[1] - at
        for k in range(depth):
            for j in range(columns):
                panels[p, k, j] = W[first + k, at + j]
            panels[p, k, columns:] = 0


@jit
def _pack_transposed(start, stop, Ws, every):
    # panels [start, stop) of those of all W (N, K) counted through
    for i in range(len(Ws)):
        W, panels = Ws[i], every[i]
        for p in range(max(start, 0), min(stop, len(panels))):
            pack_transposed(W, p * panels.shape[2], 0, W.shape[1], panels[p])
        start -= len(panels)
        stop -= len(panels)


@jit
def _pack_rows(start, stop, Ws, every):
    # rows [start, stop) of those of all W (K, N) counted through
    for i in range(len(Ws)):
        W, panels = Ws[i], every[i]
        first, last = max(start, 0), min(stop, len(W))
        if first < last:
            pack_rows(W, 0, first, last - first, panels[:, first:])
        start -= len(W)
        stop -= len(W)


def packed(Ws, transposed: bool) -> tuple:
    """For each W the panels (panels, K, 2W) that `tile.multiply` takes: of Wᵀ (``transposed``, W (N, K)) or of W (K, N)."""
    every, width = [], width_of(Ws[0].dtype)
    for W in Ws:
        N, K = W.shape if transposed else W.shape[::-1]
        every.append(empty((-(-N // width), K, width), W.dtype))
    numbers = sum(panels.size for panels in every)
    units = sum(len(panels) if transposed else len(W) for W, panels in zip(Ws, every, strict=True))
    kernel = _pack_transposed if transposed else _pack_rows
    devices.parallel(kernel, units, tuple(Ws), tuple(every), grain=max(1, 2**16 * units // max(1, numbers)))
    return tuple(every)
