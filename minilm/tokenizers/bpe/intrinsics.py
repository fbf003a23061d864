"""Single instructions for the loops of byte-level BPE, which Numba has no names for or puts checks around."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 64  # bytes of text looked at together
PADDING = BLOCK  # zero bytes after a text, so that a kernel may load a whole block at its last byte


@intrinsic
def load64(typingctx, array, index):
    """Eight bytes of a uint8 array from `index` on, aligned or not, the first one lowest."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        word = ir.IntType(64)
        pointer = builder.bitcast(builder.gep(data, [arguments[1]], inbounds=True), word.as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(array, types.intp), codegen


@intrinsic
def word_at(typingctx, array, index):
    """array[index] of a uint32 array, as an int64; `index` is not negative, which Numba would look at first."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        word = builder.load(builder.gep(data, [arguments[1]], inbounds=True))
        return builder.zext(word, ir.IntType(64))

    return types.int64(array, types.intp), codegen


@intrinsic
def put(typingctx, array, index, value):
    """array[index] = value of an int64 array; `index` is not negative."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]], inbounds=True))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def byte_at(typingctx, array, index):
    """array[index] of a uint8 array, as an int64; `index` is not negative."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.zext(builder.load(builder.gep(data, [arguments[1]], inbounds=True)), ir.IntType(64))

    return types.int64(array, types.intp), codegen


@intrinsic(prefer_literal=True)
def bytes_in(typingctx, array, index, case, first, count):
    """Bit k is set if byte b = array[index + k] | case is one of the `count` bytes from `first` on; 64 bytes, as a uint64.

    The last three are literals. One load, one subtraction and one unsigned comparison of 64 lanes, then a bit a lane. The empty
    assembly hides from LLVM where the word comes from. It would make ``a & b | ~a & c`` of such words a choice in 64 lanes of a
    bit each, which without AVX-512 go through registers one by one: a cut of English took four times as long.
    """
    literals = (case, first, count)
    if not all(isinstance(each, types.IntegerLiteral) for each in literals):
        return None
    values = [each.literal_value for each in literals]

    def codegen(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        lanes = ir.VectorType(ir.IntType(8), BLOCK)
        case, first, count = (ir.Constant(lanes, [value] * BLOCK) for value in values)
        pointer = builder.bitcast(builder.gep(data, [arguments[1]], inbounds=True), lanes.as_pointer())
        character = builder.sub(builder.or_(builder.load(pointer, align=1), case), first)
        word = ir.IntType(64)
        bits = builder.bitcast(builder.icmp_unsigned("<", character, count), word)
        return builder.asm(ir.FunctionType(word, [word]), "", "=r,0", [bits], False)

    return types.uint64(array, types.intp, *literals), codegen


@intrinsic
def trailing_zeros(typingctx, value):
    """Zero bits below the lowest one bit of a uint64; 64 for zero."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen


@intrinsic
def leading_zeros(typingctx, value):
    """Zero bits above the highest one bit of a uint64; 64 for zero."""

    def codegen(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def ones(typingctx, value):
    """How many bits of a uint64 are set."""

    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), codegen


@intrinsic
def prefetch_row(typingctx, rows, row):
    """Ask for the line of the cache where a row of an array (R, C) begins, and do not wait for it."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = [arguments[1], context.get_constant(types.intp, 0)]
        pointer = cgutils.get_item_pointer(context, builder, signature.args[0], array, place, wraparound=False)
        number, address = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(prefetch, [builder.bitcast(pointer, address), number(0), number(3), number(1)])  # to read, near, data
        return context.get_dummy_value()

    return types.void(rows, types.intp), codegen


@intrinsic(prefer_literal=True)
def copy_ids(typingctx, row_ids, row, column, length, out, count):
    """out[count : count + length] = row_ids[row, column : column + length], in one load and one store; `length` is a literal."""
    if not isinstance(length, types.IntegerLiteral):
        return None
    lanes = ir.VectorType(ir.IntType(32), length.literal_value).as_pointer()

    def codegen(context, builder, signature, arguments):
        rows, out = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 4))
        place = [arguments[1], arguments[2]]
        source = cgutils.get_item_pointer(context, builder, signature.args[0], rows, place, wraparound=False)
        target = builder.gep(out.data, [arguments[5]], inbounds=True)
        builder.store(builder.load(builder.bitcast(source, lanes), align=8), builder.bitcast(target, lanes), align=4)
        return context.get_dummy_value()

    return types.void(row_ids, types.intp, types.intp, length, out, types.intp), codegen
