"""The register tile of `minilm.ops.tile` for bfloat16: ``vdpbf16ps`` of AVX512-BF16.

The instruction takes two vectors of 16 pairs of bfloat16, and to each of 16 sums in float32 adds the product of its pair::

    c[j] += a[2j + 1] * b[2j + 1];  c[j] += a[2j] * b[2j]

each line one fused multiply-add, rounded to nearest, ties to even; numbers below 2**-126 are read and written as zeros. So it
does twice the work of float32's instruction on operands half as long. The tile is the same: sums of R rows by two vectors stay in
registers, and for each pair of k two vectors of b are loaded, and from each row of a one word, copied to all lanes::

    for i in range(words):
        b0, b1 = b[i, :16], b[i, 16:]                     a panel's words (`minilm.ops.bfloat16.operands`)
        for r in range(R):
            pair = a[r, i]
            c[r, :16] = vdpbf16ps(c[r, :16], pair, b0)
            c[r, 16:] = vdpbf16ps(c[r, 16:], pair, b1)

R = 14: 28 sums, two vectors of b and a copied word leave one of 32 registers. A Zen 5 ends two such instructions a cycle, each
sum's after six: fewer than 12 independent sums would leave it waiting. Measured on its registers alone: 556 GFLOP/s a core where
float32's ``vfmadd`` makes 279.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VDPBF16PS; that this processor rounds as written
there, every bit, is tested.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.compiled.jit import jit
from minilm.ops.bfloat16.llvm import BFLOAT
from minilm.ops.bfloat16.operands import BYTES, LANES, WIDTH

HALVES = WIDTH // LANES
VECTOR = LANES * BYTES


def _emit(builder, R, a, a_step, b, c, c_step, words, add):
    """The tile's code: R rows; addresses, and bytes from row to row."""
    index, lane = ir.IntType(64), ir.IntType(32)
    copies, sums = ir.VectorType(lane, LANES), ir.VectorType(ir.FloatType(), LANES)
    pairs = ir.VectorType(BFLOAT, 2 * LANES)
    signature = ir.FunctionType(sums, [sums, pairs, pairs])
    dot = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx512bf16.dpbf16ps.512")
    zero = ir.Constant(sums, [0.0] * LANES)

    def load(address, kind):
        loaded = builder.load(builder.inttoptr(address, kind.as_pointer()))
        loaded.align = BYTES
        return loaded

    a_rows = [builder.add(a, builder.mul(index(r), a_step)) for r in range(R)]
    c_rows = [builder.add(c, builder.mul(index(r), c_step)) for r in range(R)]
    places = [[builder.add(row, index(half * VECTOR)) for half in range(HALVES)] for row in c_rows]
    before, adding, loop, end = builder.block, *(builder.append_basic_block(name) for name in ("add", "pairs", "store"))
    builder.cbranch(add, adding, loop)
    builder.position_at_end(adding)
    start = [[load(place, sums) for place in row] for row in places]
    builder.branch(loop)

    builder.position_at_end(loop)
    i = builder.phi(index)
    held = [[builder.phi(sums) for _ in range(HALVES)] for _ in range(R)]
    b_i = builder.add(b, builder.mul(i, index(WIDTH * BYTES)))
    right = [load(builder.add(b_i, index(half * VECTOR)), pairs) for half in range(HALVES)]
    after, offset = [], builder.mul(i, index(BYTES))
    for r in range(R):
        word = builder.insert_element(ir.Constant(copies, ir.Undefined), load(builder.add(a_rows[r], offset), lane), lane(0))
        left = builder.shuffle_vector(word, word, ir.Constant(copies, [0] * LANES))
        left = builder.bitcast(left, pairs)
        after.append([builder.call(dot, [total, left, part]) for part, total in zip(right, held[r], strict=True)])
    following = builder.add(i, index(1))
    builder.cbranch(builder.icmp_signed("<", following, words), loop, end)

    for block in (before, adding):
        i.add_incoming(index(0), block)
    i.add_incoming(following, loop)
    builder.position_at_end(end)
    for r in range(R):
        for half in range(HALVES):
            held[r][half].add_incoming(zero, before)
            held[r][half].add_incoming(start[r][half], adding)
            held[r][half].add_incoming(after[r][half], loop)
            builder.store(after[r][half], builder.inttoptr(places[r][half], sums.as_pointer())).align = BYTES


@intrinsic(prefer_literal=True)
def pair_tile(typingctx, rows, a, a_step, b, c, c_step, words, add):
    """c (rows, WIDTH) = a @ b, or += with `add`: a literal number of rows of `words` >= 1 words, by a panel's."""
    if not isinstance(rows, types.IntegerLiteral):
        return None
    signature = types.void(rows, *[types.intp] * 6, types.boolean)

    def codegen(context, builder, signature, arguments):
        _, a, a_step, b, c, c_step, words, add = arguments
        add = builder.icmp_unsigned("!=", add, ir.Constant(add.type, 0))
        _emit(builder, rows.literal_value, a, a_step, b, c, c_step, words, add)
        return context.get_dummy_value()

    return signature, codegen


@jit
def rows_by_panel(a, a_step, rows, b, c, c_step, words, add):
    """c (rows, WIDTH) = a @ b, or += with `add`, of any number of rows: addresses, and bytes from row to row."""
    row = 0
    while row < rows:
        left = rows - row
        from_a, to_c = a + row * a_step, c + row * c_step
        if left >= 14:
            pair_tile(14, from_a, a_step, b, to_c, c_step, words, add)
            row += 14
        elif left >= 8:
            pair_tile(8, from_a, a_step, b, to_c, c_step, words, add)
            row += 8
        elif left >= 4:
            pair_tile(4, from_a, a_step, b, to_c, c_step, words, add)
            row += 4
        elif left >= 2:
            pair_tile(2, from_a, a_step, b, to_c, c_step, words, add)
            row += 2
        else:
            pair_tile(1, from_a, a_step, b, to_c, c_step, words, add)
            row += 1
