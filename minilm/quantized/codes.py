"""Rows of a product's input in 8 bits, as the register tile reads them (`minilm.quantized.dot`): codes, scales, sums of codes.

They are made anew at every product, by every thread of a kernel that reads a token for itself. So vectors are written out here: a
row of 576 numbers takes 0.25 µs on an AMD EPYC (Zen 3), and took 0.46 where a compiler made them.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minilm.compiled.jit import jit
from minilm.ops.memory import address, numbers
from minilm.ops.simd import _bits_to_float, _float_to_bits
from minilm.ops.vectors import PLACE, VECTOR, emit_copies, emit_multiply_add, multiply_add
from minilm.quantized.dot import OFFSET

W = VECTOR // 4  # numbers of a vector
_MAGIC = np.float32(12582912.0)  # 1.5 * 2**23: added to a small number it leaves the nearest whole one in the sum's low bits
_REAL, _WORD = np.float32(0), np.int32(0)

_INT, _INDEX = ir.IntType(32), ir.IntType(64)
_INTS, _REALS, _CODES = (ir.VectorType(kind, W) for kind in (_INT, ir.FloatType(), ir.IntType(8)))


@jit(counted=False)
def quantize_rows(start, stop, x, group, codes, scales, begin):
    # rows [start, stop) of x (N, K), each contiguous -> codes (N, K') int8, scales (G, N), begin (G, N) int32: -128 times the
    # codes' sum
    K = x.shape[1]
    for n in range(start, stop):
        for number in range(len(scales)):
            first, last = number * group, min(K, (number + 1) * group)
            count, place, out = last - first, address(x) + n * x.strides[0] + first * 4, codes[n, first : first + group]
            vectors = count // W
            most, words = _largest(place, vectors), numbers(place, count, _WORD)
            for k in range(vectors * W, count):
                most = max(most, words[k] & np.int32(0x7FFFFFFF))
            largest = _bits_to_float(most)
            inverse = np.float32(127) / largest if most != 0 else np.float32(0)
            total, part = _round(place, vectors, inverse, address(out)), numbers(place, count, _REAL)
            for k in range(vectors * W, count):
                out[k] = np.int8(_float_to_bits(multiply_add(part[k], inverse, _MAGIC)) & np.int32(255))
                total += np.int32(out[k])
            out[count:] = 0
            scales[number, n] = largest / np.float32(127)
            begin[number, n] = -OFFSET * total


def _emit_loop(builder, count, value, after):
    """The vector after `count` turns of a loop, each of which makes ``after(turn, value)`` of it."""
    before, test = builder.block, builder.append_basic_block("test")
    loop, end = builder.append_basic_block("turn"), builder.append_basic_block("end")
    builder.branch(test)
    builder.position_at_end(test)
    turn, own = builder.phi(_INDEX), builder.phi(value.type)
    turn.add_incoming(_INDEX(0), before)
    own.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", turn, count), loop, end)
    builder.position_at_end(loop)
    larger = after(turn, own)
    turn.add_incoming(builder.add(turn, _INDEX(1)), builder.block)
    own.add_incoming(larger, builder.block)
    builder.branch(test)
    builder.position_at_end(end)
    return own


def _emit_load(builder, address, turn, kind):
    place = builder.add(address, builder.mul(turn, _INDEX(VECTOR)))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=4)


def _emit_reduced(builder, vector, combined):
    """One number of the numbers of a vector, in pairs from its halves."""
    count = W
    while count > 1:
        count //= 2
        places = ir.Constant(ir.VectorType(PLACE, W), [(place + count) % W for place in range(W)])
        vector = combined(vector, builder.shuffle_vector(vector, vector, places))
    return builder.extract_element(vector, PLACE(0))


@intrinsic
def _largest(typingctx, x, count):
    """The largest of |x[k]| of `count` vectors from an address on, as the bits of a float32: so a NaN counts as the largest."""

    def codegen(context, builder, signature, arguments):
        x, count = arguments
        size = ir.Constant(_INTS, [0x7FFFFFFF] * W)

        def larger(a, b):
            return builder.select(builder.icmp_signed(">", a, b), a, b)

        def after(turn, most):
            return larger(most, builder.and_(_emit_load(builder, x, turn, _INTS), size))

        return _emit_reduced(builder, _emit_loop(builder, count, ir.Constant(_INTS, [0] * W), after), larger)

    return types.int32(types.intp, types.intp), codegen


@intrinsic
def _round(typingctx, x, count, inverse, codes):
    """Codes of `count` vectors of x, times `inverse`, from address to address; returns their sum."""

    def codegen(context, builder, signature, arguments):
        x, count, inverse, codes = arguments
        copies, magic = emit_copies(builder, inverse, _REALS), ir.Constant(_REALS, [float(_MAGIC)] * W)
        high = ir.Constant(_INTS, [24] * W)

        def after(turn, total):
            words = builder.bitcast(emit_multiply_add(builder, _emit_load(builder, x, turn, _REALS), copies, magic), _INTS)
            own = builder.ashr(builder.shl(words, high), high)  # the lowest byte, with its sign
            place = builder.inttoptr(builder.add(codes, builder.mul(turn, _INDEX(W))), _CODES.as_pointer())
            builder.store(builder.trunc(own, _CODES), place, align=1)
            return builder.add(total, own)

        return _emit_reduced(builder, _emit_loop(builder, count, ir.Constant(_INTS, [0] * W), after), builder.add)

    return types.int32(types.intp, types.intp, types.float32, types.intp), codegen
