"""The register tile of int8 products: R rows of codes by a panel of weights, one group of numbers after the other.

A register of 4 W bytes holds four codes, k to k + 3, of each of W outputs. Four codes of a row of x are one number of 32 bits,
which is copied to all W places; one instruction then multiplies 4 W pairs of bytes and adds each four products to a sum of 32
bits::

    AVX512-VNNI, AVX-VNNI    vpdpbusd                          unsigned by signed bytes, four products a sum
    AVX2                     vpmaddubsw, vpmaddwd by ones      unsigned by signed bytes, two products a sum of 16 bits, then both
    AVX-512BW                two vpmaddwd of even and odd bytes, widened to 16 bits by a mask and a shift
    ARM with dotprod         sdot                              signed by signed bytes, four products a sum
    others                   four products of 32 bits

vpdpbusd wants one side unsigned: weights are stored as q + 128, and each sum begins at -128 times the sum of the row's codes.
sdot wants both signed: q + 128 with its first bit changed is q, and sums begin at 0. vpmaddubsw cuts off sums beyond 16 bits,
which two products of q + 128 can reach; of |q| and the code times q's sign (vpsignb) two are at most 2 * 128 * 127 = 32,512.
All give the same whole numbers.

For each group of numbers a tile has sums of 32 bits and totals in float32, so R rows by two registers take 4 R of the 32 that
AVX-512 has, and 2 R sums have to hide the four cycles of a product. Measured on an AMD EPYC (Zen 5), one thread, 1,024 rows of
384 by 384 outputs in groups of 64, by R, in thousands of millions of multiply-adds a second::

    R                                                                        4      6      7      8     12
    totals in registers                                                    343    431    444    434
    totals in the first cache                                                                   387    383

The peak is 576; each group's conversion to float32, with its two scales, costs an eighth of it.

Of weights of 4 bits (int4) a byte holds two codes of one output: of the low halves of a register's bytes are the codes of four
numbers k, of the high ones those of four that stand half a group further on. The rest is the same, but that codes are unsigned as
they are, and each group has a least number beside its scale. A group has 16 pairs of products, of 2 * 15 * 127 at most, so each
half of a sum holds its eight pairs in 16 bits, and AVX2 adds halves (vpmaddwd) once a group.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.ops import target
from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add
from minilm.quantized.spec import SMALL_GROUP

W = VECTOR // 4  # sums of a register
WIDTH = 2 * W  # outputs of a panel
OFFSET = 128  # of a stored weight
LINE = 64  # bytes of a line of the cache, which is fetched whole
AHEAD = 2048  # bytes: what is fetched into the second cache, past the end of the page too, where processors stop guessing
SCALES_AHEAD = 1024  # the same of scales, a stream of their own

_INT, _INDEX = ir.IntType(32), ir.IntType(64)
_SUMS, _REALS = ir.VectorType(_INT, W), ir.VectorType(ir.FloatType(), W)
_HALVES, _BYTES = ir.VectorType(ir.IntType(16), 2 * W), ir.VectorType(ir.IntType(8), 4 * W)


def instructions() -> str:
    """Which of the ways this processor takes: ``"vnni"``, ``"maddubs"``, ``"madd"``, ``"sdot"`` or ``"plain"``."""
    return target.int8_instructions()


SIGNED = ("maddubs", "sdot", "signed")  # ways that want weights with a sign; "signed" is sdot's in plain code, for tests


def _constant(number):
    return ir.Constant(_SUMS, [number] * W)


def _call(builder, name, result, *values):
    """An intrinsic of LLVM."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _emit_pairs(builder, weights, codes):
    """Sums of 16 bits of two products each: unsigned weights by signed codes, of which no sum is beyond 16 bits."""
    return _call(builder, "llvm.x86.avx2.pmadd.ub.sw", _HALVES, builder.bitcast(weights, _BYTES), builder.bitcast(codes, _BYTES))


def _emit_whole(builder, pairs):
    """The sums of 32 bits of two of 16 bits each."""
    return _call(builder, "llvm.x86.avx2.pmadd.wd", _SUMS, pairs, ir.Constant(_HALVES, [1] * (2 * W)))


def _emit_dot(builder, way, total, weights, codes):
    """total + the four products of each place; weights (W of four bytes, as `way` wants them), codes (W of four signed ones)."""
    if way == "vnni":
        return _call(builder, f"llvm.x86.avx512.vpdpbusd.{8 * VECTOR}", _SUMS, total, weights, codes)
    if way == "maddubs":
        weights, codes = builder.bitcast(weights, _BYTES), builder.bitcast(codes, _BYTES)
        sizes = _call(builder, f"llvm.abs.v{VECTOR}i8", _BYTES, weights, ir.Constant(ir.IntType(1), 0))
        signed = _call(builder, "llvm.x86.avx2.psign.b", _BYTES, codes, weights)
        return builder.add(total, _emit_whole(builder, _emit_pairs(builder, sizes, signed)))
    if way == "madd":
        eight = ir.Constant(_HALVES, [8] * (2 * W))
        weights, codes = builder.bitcast(weights, _HALVES), builder.bitcast(codes, _HALVES)
        even = builder.and_(weights, ir.Constant(_HALVES, [255] * (2 * W))), builder.ashr(builder.shl(codes, eight), eight)
        odd = builder.lshr(weights, eight), builder.ashr(codes, eight)
        first, second = (_call(builder, "llvm.x86.avx512.pmaddw.d.512", _SUMS, *pair) for pair in (even, odd))
        return builder.add(total, builder.add(first, second))
    if way == "sdot":
        count = total.type.count
        eights = ir.VectorType(ir.IntType(8), 4 * count)
        name = f"llvm.aarch64.neon.sdot.v{count}i32.v{4 * count}i8"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(total.type, [total.type, eights, eights]), name)
        return builder.call(function, [total, builder.bitcast(weights, eights), builder.bitcast(codes, eights)])
    for byte in range(4):
        if way == "signed":
            weight = builder.ashr(builder.shl(weights, _constant(24 - 8 * byte)), _constant(24))
        else:
            weight = builder.and_(builder.lshr(weights, _constant(8 * byte)), _constant(255))
        code = builder.ashr(builder.shl(codes, _constant(24 - 8 * byte)), _constant(24))
        total = builder.add(total, builder.mul(weight, code))
    return total


class Bytes:
    """Weights of 8 bits: a register of a panel holds four codes of each output, as q + 128."""

    parts = 1  # fours of a register
    steps = None  # of a group, which has any length

    @staticmethod
    def codes(builder, way, register):
        """The codes of each of the `parts`, as `way` wants them."""
        return [builder.xor(register, _constant(-0x7F7F7F80)) if way in SIGNED else register]

    @staticmethod
    def begin(builder, way, total):
        """What sums begin with, of a row's -128 times the sum of its codes."""
        return ir.Constant(_SUMS, [0] * W) if way in SIGNED else emit_copies(builder, total, _SUMS)

    @staticmethod
    def dot(builder, way, total, weights, codes):
        """total + the products of a part."""
        return _emit_dot(builder, way, total, weights, codes)

    @staticmethod
    def whole(builder, way, sums):
        """A group's sums, of what `dot` has gathered."""
        return sums

    @staticmethod
    def scaled(builder, sums, words, begin, factor, total):
        """total + the group's sums times both scales."""
        both = builder.fmul(builder.bitcast(words, _REALS), emit_copies(builder, factor, _REALS))
        return emit_multiply_add(builder, builder.sitofp(sums, _REALS), both, total)


class Nibbles:
    """Weights of 4 bits: a register holds two fours of each output, the second half a group after the first."""

    parts = 2
    steps = SMALL_GROUP // 8  # of a group: so few that one row saves an eighth of its time without a loop of them

    @staticmethod
    def codes(builder, way, register):
        """The codes of each of the `parts`: of 0 to 15, with a sign or without."""
        low = _constant(0x0F0F0F0F)
        return [builder.and_(register, low), builder.and_(builder.lshr(register, _constant(4)), low)]

    @staticmethod
    def begin(builder, way, total):
        """What sums begin with: codes are unsigned as they are."""
        return ir.Constant(_SUMS, [0] * W)

    @staticmethod
    def dot(builder, way, total, weights, codes):
        """total + the products of a part; of AVX2 in halves of 16 bits."""
        if way != "maddubs":
            return _emit_dot(builder, way, total, weights, codes)
        return builder.bitcast(builder.add(builder.bitcast(total, _HALVES), _emit_pairs(builder, weights, codes)), _SUMS)

    @staticmethod
    def whole(builder, way, sums):
        """A group's sums, of what `dot` has gathered."""
        return _emit_whole(builder, builder.bitcast(sums, _HALVES)) if way == "maddubs" else sums

    @staticmethod
    def scaled(builder, sums, words, begin, factor, total):
        """total + the group's sums times both scales, + the least number times the sum of the row's numbers.

        A word holds an output's scale in its lower half and the least number in its upper one, as float16.
        """
        scale = _emit_half(builder, builder.shl(words, _constant(16)))
        least = _emit_half(builder, words)
        number = builder.fmul(factor, ir.Constant(ir.FloatType(), -1 / OFFSET))
        number = builder.fmul(builder.sitofp(begin, ir.FloatType()), number)  # t times the sum of the codes
        both = builder.fmul(scale, emit_copies(builder, factor, _REALS))
        total = emit_multiply_add(builder, builder.sitofp(sums, _REALS), both, total)
        return emit_multiply_add(builder, least, emit_copies(builder, number, _REALS), total)


def _emit_half(builder, words):
    """The float32 of the float16 in the upper half of each word: sign and bits at their places there, times two to the power of
    the difference of the exponents' biases."""
    bits = builder.and_(builder.ashr(words, _constant(3)), _constant(-0x70002000))  # 0x8FFFE000
    return builder.fmul(builder.bitcast(bits, _REALS), ir.Constant(_REALS, [2.0**112] * W))


def _emit(
    builder, form, R, codes, code_step, count, panel, steps, groups, begin, factor, group_step, scales, shift, out, out_step
):
    """The tile's code; what the numbers are says `multiply_rows`."""

    def load(address, offset, kind):
        return builder.load(builder.inttoptr(builder.add(address, _INDEX(offset)), kind.as_pointer()), align=4)

    def row(address, step, r):
        """Where row number min(r, count - 1) begins."""
        last = builder.sub(count, _INDEX(1))
        r = builder.select(builder.icmp_signed("<", _INDEX(r), last), _INDEX(r), last)
        return builder.add(address, builder.mul(r, step))

    way, halves, zero = instructions(), range(2), ir.Constant(_REALS, [0.0] * W)
    of_codes, of_begin, of_factor = (
        [row(at, step, r) for r in range(R)] for at, step in ((codes, code_step), (begin, _INDEX(4)), (factor, _INDEX(4)))
    )

    def multiplied(k, sums):
        """The sums of all rows after step number k of a group."""
        place = builder.add(panel, builder.mul(builder.add(first, k), _INDEX(2 * VECTOR)))
        weights = [form.codes(builder, way, load(place, half * VECTOR, _SUMS)) for half in halves]
        if R == 1:  # more rows read a panel from the caches
            for line in range(0, 2 * VECTOR, LINE):
                emit_fetch(builder, builder.add(place, _INDEX(AHEAD + line)))
        after = [list(row) for row in sums]
        for part in range(form.parts):
            number = builder.add(builder.mul(first, _INDEX(form.parts)), builder.add(k, builder.mul(steps, _INDEX(part))))
            at = builder.mul(number, _INDEX(4))  # where the part's four codes stand, in bytes
            for r in range(R):
                copies = emit_copies(builder, load(builder.add(of_codes[r], at), 0, _INT), _SUMS)
                for half in halves:
                    after[r][half] = form.dot(builder, way, after[r][half], weights[half][part], copies)
        return after

    before, group, done = builder.block, builder.append_basic_block("g"), builder.append_basic_block("store")
    builder.branch(group)

    builder.position_at_end(group)
    g = builder.phi(_INDEX)
    totals = [[builder.phi(_REALS) for _ in halves] for _ in range(R)]
    steps = steps if R > 1 or form.steps is None else _INDEX(form.steps)
    first, own = builder.mul(g, steps), builder.mul(g, group_step)
    begins = [load(builder.add(place, own), 0, _INT) for place in of_begin]
    sums = [[form.begin(builder, way, each)] * len(halves) for each in begins]
    if R > 1 or form.steps is None:
        sums = _emit_loop(builder, steps, sums, multiplied)
    else:
        for k in range(form.steps):
            sums = multiplied(_INDEX(k), sums)

    larger, outputs = [], builder.add(scales, builder.mul(g, _INDEX(2 * VECTOR)))
    for r in range(R):
        scale = load(builder.add(of_factor[r], own), 0, ir.FloatType())
        words = [load(outputs, half * VECTOR, _SUMS) for half in halves]
        for line in range(0, 2 * VECTOR, LINE) if R == 1 else ():
            emit_fetch(builder, builder.add(outputs, _INDEX(SCALES_AHEAD + line)))
        whole = [form.whole(builder, way, sums[r][half]) for half in halves]
        larger.append([form.scaled(builder, whole[half], words[half], begins[r], scale, totals[r][half]) for half in halves])
    further = builder.add(g, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", further, groups), group, done)
    g.add_incoming(_INDEX(0), before)
    g.add_incoming(further, builder.block)
    for r in range(R):
        for half in halves:
            totals[r][half].add_incoming(zero, before)
            totals[r][half].add_incoming(larger[r][half], builder.block)

    builder.position_at_end(done)
    for r in range(R):
        for half in halves:
            to = builder.inttoptr(builder.add(row(out, out_step, r), _INDEX(half * VECTOR)), _REALS.as_pointer())
            builder.store(builder.fadd(larger[r][half], load(shift, half * VECTOR, _REALS)), to, align=4)


def _emit_loop(builder, steps, sums, multiplied):
    """The sums after `steps` >= 1 turns of a loop, each of which makes ``multiplied(k, sums)`` of them."""
    before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("scale")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    own = [[builder.phi(total.type) for total in row] for row in sums]
    after, following = multiplied(k, own), builder.add(k, _INDEX(1))
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
    k.add_incoming(_INDEX(0), before)
    k.add_incoming(following, loop)
    for phis, first, larger in zip(own, sums, after, strict=True):
        for phi, start, value in zip(phis, first, larger, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
    builder.position_at_end(end)
    return after


def _intrinsic(form):
    """`_emit` of weights in a form, for kernels."""

    def multiply_rows(
        typingctx, rows, codes, code_step, count, panel, steps, groups, begin, factor, group_step, scales, shift, out, out_step
    ):
        if not isinstance(rows, types.IntegerLiteral):
            return None
        numbers = codes, code_step, count, panel, steps, groups, begin, factor, group_step, scales, shift, out, out_step
        signature = types.void(rows, *(types.int64 for _ in numbers))
        R = rows.literal_value

        def codegen(context, builder, signature, arguments):
            _emit(builder, form, R, *arguments[1:])
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(prefer_literal=True)(multiply_rows)


# out[r] (2W,) = codes[r] (K',) int8 by a panel of weights, plus a shift, for r < count <= rows.
#
# All but `rows`, a constant, are addresses and numbers of int64: a panel has `groups` groups, at least one, of `steps` rows of
# 2W words (of int4 SMALL_GROUP // 8, whatever it says), by `parts` fours of codes each; the next row of codes is `code_step`
# bytes further on. begin and factor are (G, .), -128 times the sum of each row's codes, int32, and the rows' scales,
# `group_step` bytes from a group to the next; scales (G, 2W) are the outputs', and shift (2W,) is added in the end. A row of
# out follows `out_step` bytes after the last. The rows from `count` on repeat the last one.
multiply_rows, multiply_rows_int4 = _intrinsic(Bytes), _intrinsic(Nibbles)
