"""How a matrix product reaches the processor's peak, and the product that the recurrent kernels use.

A processor multiplies and adds a vector of W numbers at once, twice a cycle, but loads barely more than that. So a product must
use every loaded number several times while it sits in a register. The tile does: R rows by two vectors of sums stay in
registers over the whole inner loop; for each k it loads two vectors of b and R single numbers of a, and does 2 R products of
vectors with them::

    for k in range(K):
        b0, b1 = b[k, :W], b[k, W:]                       2 loads of a vector
        for r in range(R):
            s = a[r, k]                                   1 load of a number, copied to all W places
            c[r, :W] += s * b0                            2 fused multiply-adds
            c[r, W:] += s * b1

Two sums a row would leave a processor waiting, as each addition takes four cycles; 2 R independent ones keep it busy. R is
as large as the registers allow: AVX-512 has 32 of 16 float32 (R = 8 with room to spare), AVX2 16 of 8 (R = 6), NEON 32 of 4.

The second matrix is packed once, so that the inner loop reads it in the order in which it lies in memory, ``b[k]`` after
``b[k - 1]``: panels of 2 W columns, (panels, K, 2W), the last filled up with zeros. A recurrent layer multiplies by the same
weights at every step, so packing is paid once a sequence, where BLAS would pack at every call.

Each number of the result is one chain of fused multiply-adds over k in order: its bits do not depend on R, on the rows
beside it, or on how rows were shared among threads.

References: K. Goto, R. A. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008); F. G. Van Zee,
R. A. van de Geijn, BLIS: a framework for rapidly instantiating BLAS functionality, ACM TOMS 41 (2015).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import target
from minilm.ops.workspace import empty, scratch

VECTOR = target.vector_bytes()
ROWS = 8 if VECTOR == 64 else 6  # of a tile, R: AVX-512 has 32 registers, AVX 16
FEW = ROWS // 2  # rows of the tile for what is left over
CHUNK = 64  # rows of a that are multiplied by all panels while they sit in the cache
WORTH = 2**18  # multiply-adds that are worth a thread
SMALL = 2**17  # multiply-adds below which BLAS uses no thread but the caller's
FEWEST = CHUNK  # rows of a that are worth packing all of W for: generation multiplies a few at a time
DEPTH = 128  # rows of b that are gone through at a time where the sums run over thousands
WIDTH32, WIDTH64 = 2 * VECTOR // 4, 2 * VECTOR // 8  # columns of a panel, 2W: float32, float64


def width_of(dtype) -> int:
    """Columns of a panel."""
    return WIDTH32 if np.dtype(dtype) == np.float32 else WIDTH64


def _emit(builder, single, R, transposed, a, a_step, b, b_step, c, c_step, K, count, add):
    """The tile's code. Addresses and steps in bytes: a_step and c_step lead from row to row (with `transposed`, where the rows of
    a are adjacent numbers, a_step from k to k), b_step from k to k."""
    real, size = (ir.FloatType(), 4) if single else (ir.DoubleType(), 8)
    lanes = VECTOR // size
    vector, index, lane = ir.VectorType(real, lanes), ir.IntType(64), ir.IntType(32)
    suffix = f"v{lanes}f{8 * size}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.{suffix}")

    def row(address, step, r):
        """Where row number min(r, count - 1) begins."""
        last = builder.sub(count, index(1))
        r = builder.select(builder.icmp_signed("<", index(r), last), index(r), last)
        return builder.add(address, builder.mul(r, step))

    def place(address, half):
        return builder.inttoptr(builder.add(address, index(half * VECTOR)), vector.as_pointer())

    def load(address, half):
        loaded = builder.load(place(address, half))
        loaded.align = size
        return loaded

    a_rows = [row(a, index(size) if transposed else a_step, r) for r in range(R)]
    a_k = a_step if transposed else index(size)
    c_rows = [row(c, c_step, r) for r in range(R)]
    zero = ir.Constant(vector, [0.0] * lanes)
    start = [[builder.select(add, load(c_rows[r], half), zero) for half in range(2)] for r in range(R)]
    before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("store")
    builder.cbranch(builder.icmp_signed(">", K, index(0)), loop, end)

    builder.position_at_end(loop)
    k = builder.phi(index)
    sums = [[builder.phi(vector) for _ in range(2)] for _ in range(R)]
    b_k = [load(builder.add(b, builder.mul(k, b_step)), half) for half in range(2)]
    after, at = [], builder.mul(k, a_k)
    for r in range(R):
        number = builder.load(builder.inttoptr(builder.add(a_rows[r], at), real.as_pointer()))
        number = builder.insert_element(ir.Constant(vector, ir.Undefined), number, lane(0))
        copies = builder.shuffle_vector(number, number, ir.Constant(ir.VectorType(lane, lanes), [0] * lanes))
        after.append([builder.call(fma, [copies, part, total]) for part, total in zip(b_k, sums[r], strict=True)])
    following = builder.add(k, index(1))
    builder.cbranch(builder.icmp_signed("<", following, K), loop, end)
    k.add_incoming(index(0), before)
    k.add_incoming(following, loop)

    for r in range(R):
        for half in range(2):
            sums[r][half].add_incoming(start[r][half], before)
            sums[r][half].add_incoming(after[r][half], loop)
    builder.position_at_end(end)
    for r in range(R):
        for half in range(2):
            total = builder.phi(vector)
            total.add_incoming(start[r][half], before)
            total.add_incoming(after[r][half], loop)
            start[r][half] = total
    for r in range(R):
        for half in range(2):
            builder.store(start[r][half], place(c_rows[r], half)).align = size


@intrinsic(prefer_literal=True)
def _tile(typingctx, rows, transposed, a, first, count, b, c, column, add):
    """c[first + r, column : column + 2W] = a[first + r] @ b for r < count <= rows; a (., K), b (K, 2W), c (., N).

    With `transposed`, a is (K, .) and a[:, first + r] takes part. With `add` the product is added to what c holds. The rows from
    `count` on repeat the last one: they load what it loads and store what it stores.
    """
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(transposed, types.IntegerLiteral):
        return None
    signature = types.void(rows, transposed, a, types.intp, types.intp, b, c, types.intp, types.boolean)
    R, is_transposed, single = rows.literal_value, transposed.literal_value, c.dtype == types.float32

    def codegen(context, builder, signature, arguments):
        _, _, a_value, first, count, b_value, c_value, column, add = arguments
        A, P, C = (
            make_array(signature.args[i])(context, builder, value) for i, value in ((2, a_value), (5, b_value), (6, c_value))
        )
        index, size = ir.IntType(64), 4 if single else 8
        steps = [builder.extract_value(X.strides, 0) for X in (A, P, C)]
        a, b, c = (builder.ptrtoint(X.data, index) for X in (A, P, C))
        a = builder.add(a, builder.mul(first, index(size) if is_transposed else steps[0]))
        c = builder.add(c, builder.add(builder.mul(first, steps[2]), builder.mul(column, index(size))))
        K = builder.extract_value(P.shape, 0)
        _emit(builder, single, R, is_transposed, a, steps[0], b, steps[1], c, steps[2], K, count, add)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def tile_at(typingctx, transposed, a, a_step, b, b_step, c, c_step, K, count, add, like):
    """`_tile` of ROWS rows by addresses and steps in bytes, see `_emit`; `like` is a number of the dtype."""
    if not isinstance(transposed, types.IntegerLiteral):
        return None
    signature = types.void(transposed, *[types.intp] * 8, types.boolean, like)

    def codegen(context, builder, signature, arguments):
        _emit(builder, like == types.float32, ROWS, transposed.literal_value, *arguments[1:10])
        return context.get_dummy_value()

    return signature, codegen


@jit
def multiply(first, last, a, panels, c, add):
    """c[first:last] = a[first:last] @ B, or += with `add`, where `panels` is B (K, N) packed; a (., K), c (., N)."""
    width, N = panels.shape[2], c.shape[1]
    edge = np.empty((ROWS, width), c.dtype)  # the last panel may be wider than what is left of c
    for p in range(len(panels)):
        column = p * width
        for row in range(first, last, ROWS):
            count = min(ROWS, last - row)
            if column + width > N:
                edge[:count, : N - column] = c[row : row + count, column:]
                part = a[row : row + count]
                _tile(ROWS, 0, part, 0, count, panels[p], edge, 0, add)
                c[row : row + count, column:] = edge[:count, : N - column]
            elif count > FEW:
                _tile(ROWS, 0, a, row, count, panels[p], c, column, add)
            else:
                _tile(FEW, 0, a, row, count, panels[p], c, column, add)


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
                    _tile(ROWS, 1, part, 0, count, panel, c[row + tile :], column, add)
                if whole < N:
                    edge[:count, : N - whole] = c[row + tile : row + tile + count, whole:]
                    _tile(ROWS, 1, part, 0, count, right[:depth], edge, 0, add)
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

    BLAS takes products of few rows, and the small ones, which it computes in the caller's thread. Not the others: its idle
    threads keep their cores busy for tens of milliseconds after each, and the kernels that come next run at half their speed
    (measured: a training step of a character LSTM took 26 ms so, and takes 14).
    """
    if len(a) < FEWEST or len(a) * W.size < SMALL:
        np.matmul(a, W.T if transposed else W, out=out)
        return
    with scratch():
        (panels,) = packed([W], transposed)
        chunks = -(-len(a) // CHUNK)
        devices.parallel(_multiply_chunks, chunks, a, panels, out, grain=max(1, WORTH // max(1, CHUNK * W.size)))


def transposed_product(a, b, out) -> None:
    """out (M, N) = aᵀ b for a (K, M), b (K, N), on minilm's own threads; small products as in `product`."""
    if a.shape[1] * b.size < SMALL or len(a) == 0:
        np.matmul(a.T, b, out=out)
        return
    strips = -(-a.shape[1] // (2 * ROWS))
    devices.parallel(_multiply_transposed, strips, a, b, out, grain=max(1, WORTH // max(1, 2 * ROWS * b.size)))
