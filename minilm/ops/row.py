"""One row by a matrix, out (N,) = a (K,) by Wᵀ or by W: what generation of one text computes, at the speed of the memory.

Every number of W is used once, so the time is that of reading W. What is left to do is to keep up with the memory while each
number of the result stays one chain of fused multiply-adds over k in order, as in a row among others (`minilm.ops.tile`): so a
text's logits are the same bits alone and in a batch.

W (N, K): a vector of L sums belongs to L rows of W, whose numbers lie K apart. A block of L by L is read as L vectors, one of
each row, and transposed in registers; then the block's L columns are L multiply-adds of a vector::

    for k in range(0, K, L):
        block = transpose(W[n : n + L, k : k + L])        L loads, L log2(L) shuffles
        for i in range(L):
            sums += a[k + i] * block[i]                   L multiply-adds, each waiting for the one before

The multiply-adds of a strip of L rows wait for one another. So where W lies in the second cache, two strips take turns: (1024,
256) by a row took 15 µs so, and 20 one strip after the other.

Else what takes the time is the memory, and the processor guesses what will be read where few streams go on side by side, not L.
So while a tile of L rows by up to L² numbers is multiplied, the next one is fetched into the first cache, row after row: each
block of the tile has its rows of the next one to fetch. What is read once a token (`multiply_streamed`) is fetched past the other
caches, which keep what Python and the rest of the token need. Measured on an AMD EPYC (Zen 5), two threads, rows of 768 and of
3,072 numbers, shares of the bandwidth of reading alone::

    what is fetched    nothing    the next strip, as blocks read it    as it lies    the next tile
    share               64, 68                               75, 76        80, 81           85, 86 %

W (K, N): the sums of a row of out stay in the cache, and the rows of W pass by, four of them at once.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import caches
from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add, emit_transposed, kind, multiply_add

LANES32, LANES64 = VECTOR // 4, VECTOR // 8  # L: float32, float64
WORTH = 2**16  # numbers of W that are worth a thread
CACHE = caches.size(2)  # bytes of W up to which two strips take turns


def _fetch_into(cache):
    @intrinsic
    def fetch_run(typingctx, W, n, k):
        """Fetch W[n, k : k + L²]; nothing need stand there."""
        signature = types.void(W, types.intp, types.intp)

        def codegen(context, builder, signature, arguments):
            W_value, n, k = arguments
            M, index = make_array(signature.args[0])(context, builder, W_value), ir.IntType(64)
            _, size, lanes = kind(signature.args[0].dtype)
            row = builder.add(builder.ptrtoint(M.data, index), builder.mul(n, builder.extract_value(M.strides, 0)))
            first = builder.add(row, builder.mul(k, index(size)))
            for line in range(lanes):
                emit_fetch(builder, builder.add(first, index(line * VECTOR)), cache)
            return context.get_dummy_value()

        return signature, codegen

    return fetch_run


@intrinsic
def _multiply_block(typingctx, a, k, W, n, sums, at):
    """sums[at : at + L] += a[k : k + L] by the transposed W[n : n + L, k : k + L]."""
    signature = types.void(a, types.intp, W, types.intp, sums, types.intp)

    def codegen(context, builder, signature, arguments):
        k, n, at = arguments[1], arguments[3], arguments[5]
        A, M, S = (make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4))
        real, size, lanes = kind(signature.args[2].dtype)
        vector, index = ir.VectorType(real, lanes), ir.IntType(64)
        column, step = builder.mul(k, index(size)), builder.extract_value(M.strides, 0)
        row = builder.add(builder.add(builder.ptrtoint(M.data, index), column), builder.mul(n, step))
        block = []
        for _ in range(lanes):
            block.append(builder.load(builder.inttoptr(row, vector.as_pointer()), align=size))
            row = builder.add(row, step)
        number = builder.add(builder.ptrtoint(A.data, index), column)
        place = builder.inttoptr(builder.add(builder.ptrtoint(S.data, index), builder.mul(at, index(size))), vector.as_pointer())
        total = builder.load(place, align=size)
        for part in emit_transposed(builder, block):
            one = builder.load(builder.inttoptr(number, real.as_pointer()))
            total = emit_multiply_add(builder, emit_copies(builder, one, vector), part, total)
            number = builder.add(number, index(size))
        builder.store(total, place, align=size)
        return context.get_dummy_value()

    return signature, codegen


@jit
def _multiply_pair(first, second, a, W, sums, out):
    # two strips in turns, from rows `first` and `second` on
    lanes = len(sums) // 2
    whole = len(a) - len(a) % lanes
    sums[:] = 0
    for k in range(0, whole, lanes):
        _multiply_block(a, k, W, first, sums, 0)
        _multiply_block(a, k, W, second, sums, lanes)
    _finish(sums[:lanes], whole, lanes, first, a, W, out)
    _finish(sums[lanes:], whole, lanes, second, a, W, out)


@jit(inline="always")
def _finish(sums, whole, count, n, a, W, out):
    # `count` numbers of out from n on: the sums over k < whole, and what is left
    for j in range(count):
        total = sums[j]
        for k in range(whole, len(a)):
            total = multiply_add(a[k], W[n + j, k], total)
        out[n + j] = total


def _one_by_one(cache):
    """Strips one after the other, while the next tile is fetched into a cache (`minilm.ops.vectors.emit_fetch`)."""
    fetch_run = _fetch_into(cache)

    @jit
    def multiply(start, stop, a, W, out):
        # strips [start, stop) of out (N,), as above, one after the other
        N, K = W.shape
        lanes = LANES32 if W.itemsize == 4 else LANES64
        count, whole = (lanes, K - K % lanes) if N >= lanes else (N, 0)
        tiles = max(1, -(-whole // lanes**2))
        width = max(1, -(-whole // (lanes * tiles))) * lanes  # of a tile
        sums = np.empty(lanes, W.dtype)
        for strip in range(start, stop):
            n = min(strip * lanes, N - count)
            sums[:] = 0
            for k in range(0, whole, width):
                own, last = min(width, whole - k), k + width >= whole
                following, place = (n + lanes, 0) if last else (n, k + width)
                row, end = following, following + (0 if last and strip + 1 == stop else lanes)
                each = -(-(lanes**2) // own)  # rows for a block to fetch
                for block in range(k, k + own, lanes):
                    for _ in range(min(each, end - row)):
                        fetch_run(W, row, place)
                        row += 1
                    _multiply_block(a, block, W, n, sums, 0)
            _finish(sums, whole, count, n, a, W, out)

    return multiply


_multiply_kept, multiply_streamed = _one_by_one(1), _one_by_one(None)


@jit
def multiply_transposed(start, stop, a, W, out):
    # strips [start, stop) of L numbers of out (N,); a (K,), W (N, K). The last strip begins where it is whole
    N, K = W.shape
    if N * K * W.itemsize <= CACHE:
        lanes = LANES32 if W.itemsize == 4 else LANES64
        sums = np.empty(2 * lanes, W.dtype)
        while start + 1 < stop:
            _multiply_pair(start * lanes, min((start + 1) * lanes, N - lanes), a, W, sums, out)
            start += 2
    _multiply_kept(start, stop, a, W, out)


@jit
def _multiply(start, stop, a, W, out):
    # numbers [start, stop) of out (N,); a (K,), W (K, N), of which four rows pass by at a time
    sums, whole = out[start:stop], len(a) - len(a) % 4
    sums[:] = 0
    for k in range(0, whole, 4):
        a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        w0, w1, w2, w3 = W[k, start:stop], W[k + 1, start:stop], W[k + 2, start:stop], W[k + 3, start:stop]
        for n in range(len(sums)):
            sums[n] = multiply_add(a3, w3[n], multiply_add(a2, w2[n], multiply_add(a1, w1[n], multiply_add(a0, w0[n], sums[n]))))
    for k in range(whole, len(a)):
        number, w = a[k], W[k, start:stop]
        for n in range(len(sums)):
            sums[n] = multiply_add(number, w[n], sums[n])


def row_product(a, W, out, *, transposed: bool) -> None:
    """out (N,) = a (K,) by Wᵀ (``transposed``, W (N, K)) or by W (K, N), on minilm's threads."""
    if transposed:
        lanes = LANES32 if W.itemsize == 4 else LANES64
        devices.parallel(multiply_transposed, -(-len(out) // lanes), a, W, out, grain=max(1, WORTH // (lanes * len(a))))
    else:
        devices.parallel(_multiply, len(out), a, W, out, grain=max(1, WORTH // len(a)))
