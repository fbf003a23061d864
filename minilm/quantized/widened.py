"""One row by a panel of bfloat16 weights, which are widened to float32 in registers: half of the bytes to read for a product.

A bfloat16 is the upper half of a float32, so widening is a shift by 16 places.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add

W = VECTOR // 4
AHEAD = 2048  # bytes, see `minilm.quantized.dot`

_INT, _INDEX = ir.IntType(32), ir.IntType(64)
_HALVES, _WORDS, _REALS = (ir.VectorType(kind, W) for kind in (ir.IntType(16), _INT, ir.FloatType()))


@intrinsic
def multiply_row(typingctx, x, panel, out):
    """out (2W,) = x (K,) by a panel (K, 2W) uint16, K at least 1: a chain of fused multiply-adds over k in order."""
    signature = types.void(x, panel, out)

    def codegen(context, builder, signature, arguments):
        X, P, Y = (make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments, strict=True))
        x, panel, out = (builder.ptrtoint(array.data, _INDEX) for array in (X, P, Y))
        count, zero = builder.extract_value(P.shape, 0), ir.Constant(_REALS, [0.0] * W)
        before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("store")
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(_INDEX)
        totals = [builder.phi(_REALS) for _ in range(2)]
        number = builder.inttoptr(builder.add(x, builder.mul(k, _INDEX(4))), ir.FloatType().as_pointer())
        copies = emit_copies(builder, builder.load(number), _REALS)
        place, after = builder.add(panel, builder.mul(k, _INDEX(VECTOR))), []
        emit_fetch(builder, builder.add(place, _INDEX(AHEAD)))
        for half, total in enumerate(totals):
            pointer = builder.inttoptr(builder.add(place, _INDEX(half * VECTOR // 2)), _HALVES.as_pointer())
            words = builder.zext(builder.load(pointer, align=2), _WORDS)
            weights = builder.bitcast(builder.shl(words, ir.Constant(_WORDS, [16] * W)), _REALS)
            after.append(emit_multiply_add(builder, copies, weights, total))
        following = builder.add(k, _INDEX(1))
        builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
        k.add_incoming(_INDEX(0), before)
        k.add_incoming(following, loop)
        for total, value in zip(totals, after, strict=True):
            total.add_incoming(zero, before)
            total.add_incoming(value, loop)

        builder.position_at_end(end)
        for half, value in enumerate(after):
            pointer = builder.inttoptr(builder.add(out, _INDEX(half * VECTOR)), _REALS.as_pointer())
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return signature, codegen
