"""The register tile of int8 products: R rows of codes by a panel of weights, one group of numbers after the other.

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


def _emit(builder, way, R, codes, code_step, panel, fours, groups, begin, factor, group_step, scales, out):
    """Addresses of the rows' codes and the bytes from row to row, of the weights, how many fours a group has and how many groups
    there are, of the numbers where the rows' sums begin (G, R...) and of the rows' scales, the bytes from group to group of
    both, of the outputs' scales (G, 2W), of the result (R, 2W)."""

    def load(address, offset, kind):
        return builder.load(builder.inttoptr(builder.add(address, _INDEX(offset)), kind.as_pointer()), align=4)

    zero = ir.Constant(_REALS, [0.0] * W)
    before, group, loop, end, done = builder.block, *(builder.append_basic_block(name) for name in ("g", "k", "scale", "store"))
    builder.branch(group)

    builder.position_at_end(group)
    g = builder.phi(_INDEX)
    totals = [[builder.phi(_REALS) for _ in range(2)] for _ in range(R)]
    first, own = builder.mul(g, fours), builder.mul(g, group_step)
    start = [emit_copies(builder, load(builder.add(begin, own), 4 * r, _INT), _SUMS) for r in range(R)]
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [[builder.phi(_SUMS) for _ in range(2)] for _ in range(R)]
    position = builder.add(first, k)
    place = builder.add(panel, builder.mul(position, _INDEX(2 * VECTOR)))
    weights = [load(place, half * VECTOR, _SUMS) for half in range(2)]
    if R == 1:  # more rows read a panel from the caches
        for half in range(2):
            emit_fetch(builder, builder.add(place, _INDEX(AHEAD + half * VECTOR)))
    after = []
    for r in range(R):
        row = builder.add(codes, builder.mul(_INDEX(r), code_step))
        four = emit_copies(builder, load(builder.add(row, builder.mul(position, _INDEX(4))), 0, _INT), _SUMS)
        after.append([_emit_dot(builder, way, sums[r][half], weights[half], four) for half in range(2)])
    following = builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, fours), loop, end)
    k.add_incoming(_INDEX(0), group)
    k.add_incoming(following, loop)
    for r in range(R):
        for half in range(2):
            sums[r][half].add_incoming(start[r], group)
            sums[r][half].add_incoming(after[r][half], loop)

    builder.position_at_end(end)
    larger = []
    for r in range(R):
        copies = emit_copies(builder, load(builder.add(factor, own), 4 * r, ir.FloatType()), _REALS)
        larger.append([])
        for half in range(2):
            scale = load(builder.add(scales, builder.mul(g, _INDEX(2 * VECTOR))), half * VECTOR, _REALS)
            both = builder.fmul(scale, copies)
            larger[r].append(emit_multiply_add(builder, builder.sitofp(after[r][half], _REALS), both, totals[r][half]))
    further = builder.add(g, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", further, groups), group, done)
    g.add_incoming(_INDEX(0), before)
    g.add_incoming(further, end)
    for r in range(R):
        for half in range(2):
            totals[r][half].add_incoming(zero, before)
            totals[r][half].add_incoming(larger[r][half], end)

    builder.position_at_end(done)
    for r in range(R):
        for half in range(2):
            place = builder.inttoptr(builder.add(out, _INDEX((2 * r + half) * VECTOR)), _REALS.as_pointer())
            builder.store(larger[r][half], place, align=4)


@intrinsic(prefer_literal=True)
def multiply_rows(typingctx, rows, codes, code_step, panel, fours, groups, begin, factor, group_step, scales, out):
    """out (R, 2W) = R rows' codes (R, K') int8 by a panel (K'/4, 2W, 4) uint8, times both scales.

    All but `rows`, a constant, are addresses and numbers of int64: a row has `groups` groups, at least one, of `fours` fours.
    begin and factor are (G, .), -128 times the sum of each row's codes, int32, and the rows' scales, `group_step` bytes from a
    group to the next; scales (G, 2W) the outputs'. The codes of a row lie side by side, those of the next `code_step` bytes
    further on.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    numbers = codes, code_step, panel, fours, groups, begin, factor, group_step, scales, out
    signature = types.void(rows, *(types.int64 for _ in numbers))
    R = rows.literal_value

    def codegen(context, builder, signature, arguments):
        _emit(builder, instructions(), R, *arguments[1:])
        return context.get_dummy_value()

    return signature, codegen
