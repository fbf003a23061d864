"""Vectors of 32-bit numbers as values of Numba's, so that a loop keeps them in registers.

What is written to memory number by number and read back as a vector waits until the writes are done, some twenty cycles a time.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_NUMBER = ir.IntType(32)


class Lanes(types.Type):
    """Numba's type of a vector of `count` int32; LLVM makes as many registers of it as the processor needs."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(name=f"Lanes({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, ir.VectorType(_NUMBER, lanes.count))


@intrinsic(prefer_literal=True)
def load_lanes(typingctx, array, row, count):
    """array[row, :count] of an int32 array, as a vector; `row` and `count` are literals."""
    if not isinstance(count, types.IntegerLiteral) or not isinstance(row, types.IntegerLiteral):
        return None
    lanes = Lanes(count.literal_value)

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = [context.get_constant(types.intp, value) for value in (row.literal_value, 0)]
        start = cgutils.get_item_pointer(context, builder, signature.args[0], data, place, wraparound=False)
        return builder.load(builder.bitcast(start, ir.VectorType(_NUMBER, lanes.count).as_pointer()), align=4)

    return lanes(array, row, count), codegen


@intrinsic
def replaced(typingctx, lanes, lane, number):
    """The vector with another number in one lane; as it is if there is no such lane."""
    if not isinstance(lanes, Lanes):
        return None

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(_NUMBER, lanes.count)
        places = ir.Constant(vector, list(range(lanes.count)))
        same = builder.icmp_signed("==", places, _copies(builder, builder.trunc(arguments[1], _NUMBER), vector))
        return builder.select(same, _copies(builder, builder.trunc(arguments[2], _NUMBER), vector), arguments[0])

    return lanes(lanes, types.int64, types.int64), codegen


def _copies(builder, number, vector):
    """A vector of copies of a number."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _NUMBER(0))
    return builder.shuffle_vector(first, first, ir.Constant(vector, [0] * vector.count))


@intrinsic
def lowest(typingctx, lanes):
    """The lowest of a vector's numbers."""
    if not isinstance(lanes, Lanes):
        return None

    def codegen(context, builder, signature, arguments):
        reduce = ir.FunctionType(_NUMBER, [ir.VectorType(_NUMBER, lanes.count)])
        name = f"llvm.vector.reduce.smin.v{lanes.count}i32"
        return builder.sext(builder.call(cgutils.get_or_insert_function(builder.module, reduce, name), arguments), ir.IntType(64))

    return types.int64(lanes), codegen
