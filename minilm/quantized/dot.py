"""The register tile of int8 products: R rows of codes by a panel of weights, a group at a time.

A register of 4 W bytes holds four codes, k to k + 3, of each of W outputs. Four codes of a row of x are one number of 32 bits,
which is copied to all W places; one instruction then multiplies 4 W pairs of bytes and adds each four products to a sum of 32
bits::

    AVX512-VNNI, AVX-VNNI    vpdpbusd                          unsigned by signed bytes, four products a sum
    AVX-512BW, AVX2          two vpmaddwd of even and odd bytes, widened to 16 bits by a mask and a shift
    others                   four products of 32 bits

vpdpbusd wants one side unsigned: weights are stored as q + 128, and each sum begins at -128 times the sum of the row's codes. All
three give the same whole numbers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.ops import target
from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add

W = VECTOR // 4  # sums of a register
WIDTH = 2 * W  # outputs of a panel
OFFSET = 128  # of a stored weight
AHEAD = 2048  # bytes: what is fetched into the second cache, past the end of the page too, where processors stop guessing

_INT, _INDEX = ir.IntType(32), ir.IntType(64)
_SUMS, _REALS = ir.VectorType(_INT, W), ir.VectorType(ir.FloatType(), W)


def instructions() -> str:
    """Which of the three ways this processor takes: ``"vnni"``, ``"madd"`` or ``"plain"``."""
    return target.int8_instructions()


def _constant(number):
    return ir.Constant(_SUMS, [number] * W)


def _emit_dot(builder, way, total, weights, codes):
    """total + the four products of each place; weights (W of four unsigned bytes), codes (W of four signed ones)."""
    if way == "vnni":
        name = f"llvm.x86.avx512.vpdpbusd.{8 * VECTOR}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_SUMS, [_SUMS] * 3), name)
        return builder.call(function, [total, weights, codes])
    if way == "madd":
        halves = ir.VectorType(ir.IntType(16), 2 * W)
        name = "llvm.x86.avx512.pmaddw.d.512" if VECTOR == 64 else "llvm.x86.avx2.pmadd.wd"
        madd = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_SUMS, [halves] * 2), name)
        eight = ir.Constant(halves, [8] * (2 * W))
        weights, codes = builder.bitcast(weights, halves), builder.bitcast(codes, halves)
        even = builder.and_(weights, ir.Constant(halves, [255] * (2 * W))), builder.ashr(builder.shl(codes, eight), eight)
        odd = builder.lshr(weights, eight), builder.ashr(codes, eight)
        return builder.add(total, builder.add(builder.call(madd, even), builder.call(madd, odd)))
    for byte in range(4):
        weight = builder.and_(builder.lshr(weights, _constant(8 * byte)), _constant(255))
        code = builder.ashr(builder.shl(codes, _constant(24 - 8 * byte)), _constant(24))
        total = builder.add(total, builder.mul(weight, code))
    return total


def _emit(builder, way, R, codes, code_step, panel, count, begin, factor, scales, totals):
    """Addresses of the rows' codes of the group and the bytes from row to row, of the group's weights, how many fours it has, of
    the numbers where the rows' sums begin (R,), of the rows' scales (R,), of the outputs' scales (2W,), of totals (R, 2W)."""

    def load(address, offset, kind):
        return builder.load(builder.inttoptr(builder.add(address, _INDEX(offset)), kind.as_pointer()), align=4)

    rows = [builder.add(codes, builder.mul(_INDEX(r), code_step)) for r in range(R)]
    start = [emit_copies(builder, load(begin, 4 * r, _INT), _SUMS) for r in range(R)]
    before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("scale")
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [[builder.phi(_SUMS) for _ in range(2)] for _ in range(R)]
    place = builder.add(panel, builder.mul(k, _INDEX(2 * VECTOR)))
    weights = [load(place, half * VECTOR, _SUMS) for half in range(2)]
    for half in range(2):
        emit_fetch(builder, builder.add(place, _INDEX(AHEAD + half * VECTOR)))
    after = []
    for r in range(R):
        four = emit_copies(builder, load(builder.add(rows[r], builder.mul(k, _INDEX(4))), 0, _INT), _SUMS)
        after.append([_emit_dot(builder, way, sums[r][half], weights[half], four) for half in range(2)])
    following = builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
    k.add_incoming(_INDEX(0), before)
    k.add_incoming(following, loop)
    for r in range(R):
        for half in range(2):
            sums[r][half].add_incoming(start[r], before)
            sums[r][half].add_incoming(after[r][half], loop)

    builder.position_at_end(end)
    for half in range(2):
        scale = load(scales, half * VECTOR, _REALS)
        for r in range(R):
            both = builder.fmul(scale, emit_copies(builder, load(factor, 4 * r, ir.FloatType()), _REALS))
            total = load(totals, (2 * r + half) * VECTOR, _REALS)
            total = emit_multiply_add(builder, builder.sitofp(after[r][half], _REALS), both, total)
            pointer = builder.inttoptr(builder.add(totals, _INDEX((2 * r + half) * VECTOR)), _REALS.as_pointer())
            builder.store(total, pointer, align=4)


@intrinsic(prefer_literal=True)
def add_group(typingctx, rows, codes, panel, begin, factor, scales, totals):
    """totals (R, 2W) += the products of R rows' codes (R, g) int8 with a group of a panel (g/4, 2W, 4) uint8, times both scales.

    begin (R,) int32 is -128 times the sum of each row's codes, factor (R,) the rows' scales, scales (2W,) the outputs'. The
    codes of a row lie side by side, those of the next ``codes.strides[0]`` bytes further on.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    signature = types.void(rows, codes, panel, begin, factor, scales, totals)
    R = rows.literal_value

    def codegen(context, builder, signature, arguments):
        arrays = [make_array(signature.args[i])(context, builder, arguments[i]) for i in range(1, 7)]
        places = [builder.ptrtoint(array.data, _INDEX) for array in arrays]
        step, count = builder.extract_value(arrays[0].strides, 0), builder.extract_value(arrays[1].shape, 0)
        _emit(builder, instructions(), R, places[0], step, places[1], count, *places[2:])
        return context.get_dummy_value()

    return signature, codegen
