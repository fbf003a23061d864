"""One row by panels of bfloat16 weights, which are widened to float32 in registers: half of the bytes to read for a product.

A bfloat16 is the upper half of a float32, so widening is a shift by 16 places.

Each sum is a chain over k of multiply-adds, each of which waits some four cycles for the one before. So several panels take turns
where a register is short: on AVX2 two vectors of sums would read 32 bytes in these four cycles, four of them read 64.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add

W = VECTOR // 4
TOGETHER = 64 // VECTOR  # panels that take turns
AHEAD = 2048  # bytes, see `minilm.quantized.dot`

_INT, _INDEX = ir.IntType(32), ir.IntType(64)
_HALVES, _WORDS, _REALS = (ir.VectorType(kind, W) for kind in (ir.IntType(16), _INT, ir.FloatType()))


def _emit(builder, count, x, K, panels, out):
    """`multiply_row`, by addresses."""

    def load(address, kind, align):
        return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)

    step, zero = builder.mul(K, _INDEX(VECTOR)), ir.Constant(_REALS, [0.0] * W)
    begins = [builder.add(panels, builder.mul(step, _INDEX(number))) for number in range(count)]
    before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("store")
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    totals = [[builder.phi(_REALS) for _ in range(2)] for _ in begins]
    copies = emit_copies(builder, load(builder.add(x, builder.mul(k, _INDEX(4))), ir.FloatType(), 4), _REALS)
    after = []
    for begin, pair in zip(begins, totals, strict=True):
        place = builder.add(begin, builder.mul(k, _INDEX(VECTOR)))
        emit_fetch(builder, builder.add(place, _INDEX(AHEAD)))
        for half, total in enumerate(pair):
            words = builder.zext(load(builder.add(place, _INDEX(half * VECTOR // 2)), _HALVES, 2), _WORDS)
            weights = builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [16] * W)), _REALS)
            after.append(emit_multiply_add(builder, copies, weights, total))
    following = builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, K), loop, end)
    k.add_incoming(_INDEX(0), before)
    k.add_incoming(following, loop)
    for total, value in zip(sum(totals, []), after, strict=True):
        total.add_incoming(zero, before)
        total.add_incoming(value, loop)

    builder.position_at_end(end)
    for number, value in enumerate(after):
        to = builder.inttoptr(builder.add(out, _INDEX(number * VECTOR)), _REALS.as_pointer())
        builder.store(value, to, align=4)


@intrinsic(prefer_literal=True)
def multiply_row(typingctx, count, x, K, panels, out):
    """out (count, 2W) = x (K,) by each of `count` panels (K, 2W) uint16 that follow one another.

    Each number is a chain of multiply-adds over k in order. `count` is a constant, K at least 1; the others are addresses.
    """
    if not isinstance(count, types.IntegerLiteral):
        return None
    signature = types.void(count, *[types.int64] * 4)

    def codegen(context, builder, signature, arguments):
        _emit(builder, count.literal_value, *arguments[1:])
        return context.get_dummy_value()

    return signature, codegen
