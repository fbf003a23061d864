"""Arrays by address, for kernels that read them where they lie, whatever their strides.

Numba compiles a kernel anew for every layout of every argument: contiguous or not, writable or not. A kernel that is given an
address and the strides is compiled once, and a slice costs it an addition. Who passes an address keeps the array alive.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from minilm.compiled.jit import jit
from minilm.ops.tile import VECTOR, width_of
from minilm.ops.vectors import emit_fetch

LINE = 64  # bytes of a line of the cache


def place(array: np.ndarray) -> tuple[int, ...]:
    """Where an array lies, for a kernel: its address, and the strides of all axes but the last, in bytes."""
    return (array.__array_interface__["data"][0], *array.strides[:-1])


def size_of(like) -> int:
    """Bytes of a number like `like`; in a kernel a constant."""
    return np.dtype(type(like)).itemsize


@overload(size_of)
def _size_of(like):
    size = like.bitwidth // 8
    return lambda like: size


def panel_width(like) -> int:
    """Columns of a panel (`minilm.ops.tile`) of numbers like `like`; in a kernel a constant."""
    return width_of(type(like))


@overload(panel_width)
def _panel_width(like):
    width = width_of(np.dtype(str(like)))
    return lambda like: width


def number(value, like):
    """`value` in the dtype of `like`: a product such as ``like * 0`` would be a float64 in a kernel."""
    return type(like)(value)


@overload(number)
def _number(value, like):
    real = like
    return lambda value, like: real(value)


@intrinsic
def address(typingctx, array):
    """Where the first number of an array lies. The kernel must use the array once more after its last use of the address."""
    signature = types.intp(array)

    def codegen(context, builder, signature, arguments):
        struct = make_array(signature.args[0])(context, builder, arguments[0])
        return builder.ptrtoint(struct.data, ir.IntType(64))

    return signature, codegen


@intrinsic
def numbers(typingctx, address, count, like):
    """The `count` numbers from an address on, as an array (count,) of the dtype of the number `like`."""
    array_type = types.Array(like, 1, "C")
    signature = array_type(types.intp, types.intp, like)

    def codegen(context, builder, signature, arguments):
        address, count, _ = arguments
        array = make_array(array_type)(context, builder)
        kind = context.get_data_type(like)
        size = context.get_constant(types.intp, context.get_abi_sizeof(kind))
        populate_array(
            array,
            data=builder.inttoptr(address, kind.as_pointer()),
            shape=cgutils.pack_array(builder, [count]),
            strides=cgutils.pack_array(builder, [size]),
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return signature, codegen


@intrinsic
def _fetch_line(typingctx, address):
    """Fetch the line of the cache at an address into the second cache; nothing need stand there."""

    def codegen(context, builder, signature, arguments):
        emit_fetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@jit
def fetch(address, size):
    """Fetch `size` bytes from an address on into the second cache; nothing need stand there."""
    for at in range(address, address + size, LINE):
        _fetch_line(at)


@intrinsic
def _transpose(typingctx, source, source_step, target, target_step, scale, like):
    """A square block of as many rows as a vector has lanes, transposed in registers: target[k, i] = scale source[i, k].

    For each bit of a row's number the rows that differ in it alone exchange the lanes that differ in it.
    """
    signature = types.void(types.intp, types.intp, types.intp, types.intp, like, like)

    def codegen(context, builder, signature, arguments):
        source, source_step, target, target_step, scale, _ = arguments
        real, size = (ir.FloatType(), 4) if like == types.float32 else (ir.DoubleType(), 8)
        lanes = VECTOR // size
        vector, index, lane = ir.VectorType(real, lanes), ir.IntType(64), ir.IntType(32)

        def place(start, step, r):
            return builder.inttoptr(builder.add(start, builder.mul(index(r), step)), vector.as_pointer())

        def picked(a, b, lane_numbers):
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(lane, lanes), lane_numbers))

        scales = builder.insert_element(ir.Constant(vector, ir.Undefined), scale, lane(0))
        scales = picked(scales, scales, [0] * lanes)
        rows = []
        for r in range(lanes):
            row = builder.load(place(source, source_step, r))
            row.align = size
            rows.append(builder.fmul(row, scales))
        bit = 1
        while bit < lanes:
            for r in range(lanes):
                if not r & bit:
                    a, b = rows[r], rows[r + bit]
                    rows[r] = picked(a, b, [lanes + t - bit if t & bit else t for t in range(lanes)])
                    rows[r + bit] = picked(a, b, [lanes + t if t & bit else t + bit for t in range(lanes)])
            bit *= 2
        for r in range(lanes):
            builder.store(rows[r], place(target, target_step, r)).align = size
        return context.get_dummy_value()

    return signature, codegen


@jit
def pack_transposed(source, step, count, K, scale, panels):
    """`count` rows of K numbers, times `scale`, as panels (., K, width) of their transpose, the last filled up with zeros."""
    size, width = size_of(scale), panel_width(scale)
    lanes = VECTOR // size
    for i in range(0, -(-count // width) * width, lanes):
        target = panels + (i // width * K * width + i % width) * size
        whole = K - K % lanes if i + lanes <= count else 0
        for k in range(0, whole, lanes):
            _transpose(source + i * step + k * size, step, target + k * width * size, width * size, scale, scale)
        for k in range(whole, K):
            row = numbers(target + k * width * size, lanes, scale)
            for r in range(lanes):
                row[r] = numbers(source + (i + r) * step, K, scale)[k] * scale if i + r < count else 0


@jit
def pack_rows(source, step, count, K, scale, width, rows):
    """`count` rows of K numbers, times `scale`, one after another at `rows`, each filled up with zeros to `width`."""
    for i in range(count):
        row, out = numbers(source + i * step, K, scale), numbers(rows + i * width * size_of(scale), width, scale)
        for k in range(K):
            out[k] = row[k] * scale
        for k in range(K, width):
            out[k] = 0


@jit
def unpack_rows(rows, width, count, K, scale, target, step):
    """What `pack_rows` packed, times `scale`, back to where it belongs."""
    for i in range(count):
        row, out = numbers(rows + i * width * size_of(scale), K, scale), numbers(target + i * step, K, scale)
        for k in range(K):
            out[k] = row[k] * scale


@jit
def clear(start, count, like):
    """Zeros in `count` numbers from address `start` on."""
    row = numbers(start, count, like)
    for c in range(count):
        row[c] = 0
