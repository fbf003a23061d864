"""The register tile of int8 products: R rows of codes by a panel of weights, one group of numbers after the other.

A register of 4 W bytes holds four codes, k to k + 3, of each of W outputs. Four codes of a row of x are one number of 32 bits,
which is copied to all W places; one instruction then multiplies 4 W pairs of bytes and adds each four products to a sum of 32
bits::

    AVX512-VNNI, AVX-VNNI    vpdpbusd                          unsigned by signed bytes, four products a sum
    AVX-512BW, AVX2          two vpmaddwd of even and odd bytes, widened to 16 bits by a mask and a shift
    others                   four products of 32 bits

vpdpbusd wants one side unsigned: weights are stored as q + 128, and each sum begins at -128 times the sum of the row's codes. All
three give the same whole numbers.

For each group of numbers a tile has sums of 32 bits and totals in float32, so R rows by two registers take 4 R of the 32 that
AVX-512 has, and 2 R sums have to hide the four cycles of a product. Measured on an AMD EPYC (Zen 5), one thread, 1,024 rows of
384 by 384 outputs in groups of 64, by R, in thousands of millions of multiply-adds a second::

    R                                                                        4      6      7      8     12
    totals in registers                                                    343    431    444    434
    totals in the first cache                                                                   387    383

The peak is 576; each group's conversion to float32, with its two scales, costs an eighth of it.
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


def _emit(
    builder, way, R, codes, code_step, count, panel, fours, groups, begin, factor, group_step, scales, shift, out, out_step
):
    """The tile's code; what the numbers are says `multiply_rows`."""

    def load(address, offset, kind):
        return builder.load(builder.inttoptr(builder.add(address, _INDEX(offset)), kind.as_pointer()), align=4)

    def row(address, step, r):
        """Where row number min(r, count - 1) begins."""
        last = builder.sub(count, _INDEX(1))
        r = builder.select(builder.icmp_signed("<", _INDEX(r), last), _INDEX(r), last)
        return builder.add(address, builder.mul(r, step))

    halves, zero = range(2), ir.Constant(_REALS, [0.0] * W)
    of_codes, of_begin, of_factor = (
        [row(at, step, r) for r in range(R)] for at, step in ((codes, code_step), (begin, _INDEX(4)), (factor, _INDEX(4)))
    )
    before, group, loop, end, done = builder.block, *(builder.append_basic_block(name) for name in ("g", "k", "scale", "store"))
    builder.branch(group)

    builder.position_at_end(group)
    g = builder.phi(_INDEX)
    totals = [[builder.phi(_REALS) for _ in halves] for _ in range(R)]
    first, own = builder.mul(g, fours), builder.mul(g, group_step)
    start = [emit_copies(builder, load(builder.add(place, own), 0, _INT), _SUMS) for place in of_begin]
    builder.branch(loop)

    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    sums = [[builder.phi(_SUMS) for _ in halves] for _ in range(R)]
    position = builder.add(first, k)
    place = builder.add(panel, builder.mul(position, _INDEX(2 * VECTOR)))
    weights = [load(place, half * VECTOR, _SUMS) for half in halves]
    if R == 1:  # more rows read a panel from the caches
        for half in halves:
            emit_fetch(builder, builder.add(place, _INDEX(AHEAD + half * VECTOR)))
    after, at = [], builder.mul(position, _INDEX(4))
    for r in range(R):
        four = emit_copies(builder, load(builder.add(of_codes[r], at), 0, _INT), _SUMS)
        after.append([_emit_dot(builder, way, sums[r][half], weights[half], four) for half in halves])
    following = builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, fours), loop, end)
    k.add_incoming(_INDEX(0), group)
    k.add_incoming(following, loop)
    for r in range(R):
        for half in halves:
            sums[r][half].add_incoming(start[r], group)
            sums[r][half].add_incoming(after[r][half], loop)

    builder.position_at_end(end)
    larger, outputs = [], builder.add(scales, builder.mul(g, _INDEX(2 * VECTOR)))
    for r in range(R):
        copies = emit_copies(builder, load(builder.add(of_factor[r], own), 0, ir.FloatType()), _REALS)
        larger.append([])
        for half in halves:
            both = builder.fmul(load(outputs, half * VECTOR, _REALS), copies)
            larger[r].append(emit_multiply_add(builder, builder.sitofp(after[r][half], _REALS), both, totals[r][half]))
    further = builder.add(g, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", further, groups), group, done)
    g.add_incoming(_INDEX(0), before)
    g.add_incoming(further, end)
    for r in range(R):
        for half in halves:
            totals[r][half].add_incoming(zero, before)
            totals[r][half].add_incoming(larger[r][half], end)

    builder.position_at_end(done)
    for r in range(R):
        for half in halves:
            to = builder.inttoptr(builder.add(row(out, out_step, r), _INDEX(half * VECTOR)), _REALS.as_pointer())
            builder.store(builder.fadd(larger[r][half], load(shift, half * VECTOR, _REALS)), to, align=4)


@intrinsic(prefer_literal=True)
def multiply_rows(
    typingctx, rows, codes, code_step, count, panel, fours, groups, begin, factor, group_step, scales, shift, out, out_step
):
    """out[r] (2W,) = codes[r] (K',) int8 by a panel (K'/4, 2W, 4) uint8, times both scales, plus a shift, for r < count <= rows.

    All but `rows`, a constant, are addresses and numbers of int64: a row of codes has `groups` groups, at least one, of `fours`
    fours; the next row is `code_step` bytes further on. begin and factor are (G, .), -128 times the sum of each row's codes,
    int32, and the rows' scales, `group_step` bytes from a group to the next; scales (G, 2W) are the outputs', and shift (2W,) is
    added in the end. A row of out follows `out_step` bytes after the last. The rows from `count` on repeat the last one.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    numbers = codes, code_step, count, panel, fours, groups, begin, factor, group_step, scales, shift, out, out_step
    signature = types.void(rows, *(types.int64 for _ in numbers))
    R = rows.literal_value

    def codegen(context, builder, signature, arguments):
        _emit(builder, instructions(), R, *arguments[1:])
        return context.get_dummy_value()

    return signature, codegen
