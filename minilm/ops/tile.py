"""How a matrix product reaches the processor's peak: the register tile, and products by packed panels.

`minilm.ops.product` makes whole products of it.

A processor multiplies and adds a vector of W numbers at once, twice a cycle, but loads barely more than that. So a product must
use every loaded number several times while it sits in a register. The tile does: R rows by two vectors of sums stay in
registers over the whole inner loop; for each k it loads two vectors of b and R single numbers of a, and does 2 R products of
vectors with them::

    for k in range(K):
        b0, b1 = b[k, :W], b[k, W:]                       2 loads of a vector
        for r in range(R):
            s = a[r, k]                                   1 load of a number, copied to all W places
            c[r, :W] += s * b0                            2 fused multiply-adds
            c[r, W:] += s * b1

Two sums a row would leave a processor waiting, as each addition takes four cycles; 2 R independent ones keep it busy. R is
as large as the registers allow: AVX-512 has 32 of 16 float32 and NEON 32 of 4 (R = 8 with room to spare), AVX2 16 of 8 (R = 6).
Measured on an AMD EPYC (Zen 5), one thread, everything in the first cache, GFLOP/s of float32 by R rows and vectors a row::

    rows by vectors      1 by 1    1 by 2    2 by 2    4 by 2    6 by 2    8 by 2    12 by 2    14 by 2
    AVX-512                  44        77       139       230       265       267        263        258

So 12 rows and more bring nothing here; they would halve the loads of b, on a processor that has too few of them. On a Zen 3, two
units of 8 lanes at 3.2 GHz, which make 102 at most, TURN steps of k in a turn of the loop::

    rows by vectors       1 by 2    2 by 2    3 by 2    4 by 2    5 by 2    6 by 2
    AVX2, TURN 1              26        51        76        96       100       102
    AVX2, TURN 4              26        51        76       102       102       102

FEW = 4 rows are thus as quick as 6. A batch of 16 rows a thread is cut into 6, 6 and 4; of 8 rows into 4 and 4.

The second matrix is packed, so that the inner loop reads it in the order in which it lies in memory, ``b[k]`` after
``b[k - 1]``: panels of 2 W columns, (panels, K, 2W), the last filled up with zeros (`minilm.ops.panels`). A product packs a
panel where the tile will read it, in the first cache, and multiplies the rows that the second cache holds by it
(`minilm.ops.product`). A recurrent layer multiplies by the same weights at every step, so it packs them all once a sequence,
where BLAS would pack at every call.

What the steps bring, on the same processor and thread, GFLOP/s of a Wᵀ with W (1024, 1024) and M rows of a::

    step                                                    M = 64    M = 1024
    three loops                                                  2           2
    the tile, on W as it lies (its rows, already transposed)   149         152
    and W packed as a whole, number by number                  120         228
    and packed by blocks transposed in registers, in the cache 200         240
    OpenBLAS with its AVX-512 kernels                          142         241

On AVX2 (MINILM_ISA=avx2) the last two lines are 117 and 127 against OpenBLAS's 118 and 128, on SSE2 alone 45 against 43.

Each number of the result is one chain of fused multiply-adds over k in order: its bits do not depend on R, on the rows
beside it, or on how rows were shared among threads.

References: K. Goto, R. A. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008); F. G. Van Zee,
R. A. van de Geijn, BLIS: a framework for rapidly instantiating BLAS functionality, ACM TOMS 41 (2015).
"""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from minilm.compiled.isa import X86
from minilm.compiled.jit import jit
from minilm.ops.vectors import VECTOR, emit_copies, emit_fetch, emit_multiply_add, kind

REGISTERS = 16 if platform.machine() in X86 and VECTOR < 64 else 32  # of vectors: AVX has 16, AVX-512 and NEON have 32
ROWS = 8 if REGISTERS == 32 else 6  # of a tile, R
TURN = 1 if REGISTERS == 32 else 4  # numbers k of a turn of the tile's loop: the products of recurrent layers took 3 to 10 % less
LINE = 64  # bytes of a cache line
FEW = 4  # rows of the tile for what is left over: the least whose sums keep a processor busy
WIDTH32, WIDTH64 = 2 * VECTOR // 4, 2 * VECTOR // 8  # columns of a panel, 2W: float32, float64


def width_of(dtype) -> int:
    """Columns of a panel."""
    return WIDTH32 if np.dtype(dtype) == np.float32 else WIDTH64


def _emit(builder, dtype, R, transposed, a, a_step, b, b_step, c, c_step, K, count, add):
    """The tile's code. Addresses and steps in bytes: a_step and c_step lead from row to row (with `transposed`, where the rows of
    a are adjacent numbers, a_step from k to k), b_step from k to k.

    Rows from `count` on store where the last one does, before it. With `transposed` any numbers may stand in their places of a:
    one register leads to all R of k, where R pointers would not leave one to each of the other steps.
    """
    real, size, lanes = kind(dtype)
    vector, index = ir.VectorType(real, lanes), ir.IntType(64)

    def row(address, step, r):
        """Where row number min(r, count - 1) begins."""
        last = builder.sub(count, index(1))
        r = builder.select(builder.icmp_signed("<", index(r), last), index(r), last)
        return builder.add(address, builder.mul(r, step))

    def place(address, half):
        return builder.inttoptr(builder.add(address, index(half * VECTOR)), vector.as_pointer())

    def load(address, half):
        loaded = builder.load(place(address, half))
        loaded.align = size
        return loaded

    a_rows = [a if transposed else row(a, a_step, r) for r in range(R)]
    a_k, beside = (a_step, size) if transposed else (index(size), 0)  # bytes from k to k; between rows that share a pointer
    c_rows = [row(c, c_step, r) for r in range(R)]

    def step(sums, k):
        """The sums after number k."""
        b_k = [load(builder.add(b, builder.mul(k, b_step)), half) for half in range(2)]
        after, at = [], builder.mul(k, a_k)
        for r in range(R):
            place_of_a = builder.add(builder.add(a_rows[r], at), index(r * beside))
            number = builder.load(builder.inttoptr(place_of_a, real.as_pointer()))
            copies = emit_copies(builder, number, vector)
            after.append([emit_multiply_add(builder, copies, part, total) for part, total in zip(b_k, sums[r], strict=True)])
        return after

    def steps(sums, first, last, together):
        """The sums after numbers [first, last), of which a turn of the loop takes so many; they divide their number."""
        before, loop, end = builder.block, builder.append_basic_block("k"), builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed("<", first, last), loop, end)
        builder.position_at_end(loop)
        k, kept = builder.phi(index), [[builder.phi(vector) for _ in range(2)] for _ in range(R)]
        after = kept
        for further in range(together):
            after = step(after, builder.add(k, index(further)))
        following = builder.add(k, index(together))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, end)
        k.add_incoming(first, before)
        k.add_incoming(following, loop)
        builder.position_at_end(end)
        totals = [[builder.phi(vector) for _ in range(2)] for _ in range(R)]
        for r in range(R):
            for half in range(2):
                for joined in (kept[r][half], totals[r][half]):
                    joined.add_incoming(sums[r][half], before)
                    joined.add_incoming(after[r][half], loop)
        return totals

    zero = ir.Constant(vector, [0.0] * lanes)
    sums = [[builder.select(add, load(c_rows[r], half), zero) for half in range(2)] for r in range(R)]
    whole = builder.and_(K, index(-TURN)) if TURN > 1 else index(0)
    if TURN > 1:
        sums = steps(sums, index(0), whole, TURN)
    sums = steps(sums, whole, K, 1)
    for r in reversed(range(R)):
        for half in range(2):
            builder.store(sums[r][half], place(c_rows[r], half)).align = size


@intrinsic(prefer_literal=True)
def multiply_tile(typingctx, rows, transposed, a, first, count, b, c, column, add):
    """c[first + r, column : column + 2W] = a[first + r] @ b for r < count <= rows; a (., K), b (K, 2W), c (., N).

    With `transposed`, a is (K, .) and a[:, first + r] takes part. With `add` the product is added to what c holds. The rows from
    `count` on store where the last one does, before it; without `transposed` they load what it loads, with it the numbers that
    follow: `rows` of them must be there from a[:, first] on.
    """
    if not isinstance(rows, types.IntegerLiteral) or not isinstance(transposed, types.IntegerLiteral):
        return None
    signature = types.void(rows, transposed, a, types.intp, types.intp, b, c, types.intp, types.boolean)
    R, is_transposed, dtype = rows.literal_value, transposed.literal_value, c.dtype

    def codegen(context, builder, signature, arguments):
        _, _, a_value, first, count, b_value, c_value, column, add = arguments
        A, P, C = (
            make_array(signature.args[i])(context, builder, value) for i, value in ((2, a_value), (5, b_value), (6, c_value))
        )
        index, size = ir.IntType(64), kind(dtype)[1]
        steps = [builder.extract_value(X.strides, 0) for X in (A, P, C)]
        a, b, c = (builder.ptrtoint(X.data, index) for X in (A, P, C))
        a = builder.add(a, builder.mul(first, index(size) if is_transposed else steps[0]))
        c = builder.add(c, builder.add(builder.mul(first, steps[2]), builder.mul(column, index(size))))
        K = builder.extract_value(P.shape, 0)
        _emit(builder, dtype, R, is_transposed, a, steps[0], b, steps[1], c, steps[2], K, count, add)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def fetch_numbers(typingctx, count, a, row, column):
    """Fetch a[row, column : column + count] into the first cache; `count` is a constant, and nothing need stand there."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    signature = types.void(count, a, types.intp, types.intp)

    def codegen(context, builder, signature, arguments):
        _, a_value, row, column = arguments
        A, index, size = (
            make_array(signature.args[1])(context, builder, a_value),
            ir.IntType(64),
            kind(signature.args[1].dtype)[1],
        )
        place = builder.add(builder.mul(row, builder.extract_value(A.strides, 0)), builder.mul(column, index(size)))
        place = builder.add(builder.ptrtoint(A.data, index), place)
        for line in range(0, count.literal_value * size, LINE):
            emit_fetch(builder, builder.add(place, index(line)), cache=1)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def tile_at(typingctx, transposed, a, a_step, b, b_step, c, c_step, K, count, add, like):
    """`multiply_tile` of ROWS rows by addresses and steps in bytes, see `_emit`; `like` is a number of the dtype."""
    if not isinstance(transposed, types.IntegerLiteral):
        return None
    signature = types.void(transposed, *[types.intp] * 8, types.boolean, like)

    def codegen(context, builder, signature, arguments):
        _emit(builder, like, ROWS, transposed.literal_value, *arguments[1:10])
        return context.get_dummy_value()

    return signature, codegen


@jit
def multiply(first, last, a, panels, c, add):
    """c[first:last] = a[first:last] @ B, or += with `add`, where `panels` is B (K, N) packed; a (., K), c (., N)."""
    width = panels.shape[2]
    edge = np.empty((ROWS, width), c.dtype)
    for p in range(len(panels)):
        multiply_panel(a[first:last], panels[p], edge, c[first:last], p * width, add)


@jit(counted=False)
def multiply_panel(a, panel, edge, c, column, add):
    """c[:, column : column + 2W] = a @ panel, or += with `add`; the last panel may be wider than what is left of c.

    `edge` (ROWS, 2W) is where such a panel's sums have room.
    """
    columns = min(panel.shape[1], c.shape[1] - column)
    row = 0
    while row < len(a):
        left = len(a) - row
        few = left <= FEW or ROWS < left <= 2 * FEW  # 8 rows as 4 and 4: as 6 and 2 the second tile would be half empty
        count = min(FEW if few else ROWS, left)
        following = count < left
        fetch_tile(c, row + count if following else 0, column if following else column + columns)
        if columns < panel.shape[1]:
            copy_corner(c, row, column, edge, 0, 0, count, columns)
            multiply_tile(ROWS, 0, a[row:], 0, count, panel, edge, 0, add)
            copy_corner(edge, 0, 0, c, row, column, count, columns)
        elif few:
            multiply_tile(FEW, 0, a, row, count, panel, c, column, add)
        else:
            multiply_tile(ROWS, 0, a, row, count, panel, c, column, add)
        row += count


@jit(counted=False)
def fetch_tile(c, row, column):
    """Fetch c[row : row + ROWS, column : column + 2W], which the next tile adds to.

    A tile begins with loads of c, and where c lies beyond the second cache it would wait for them as long as a tenth of its
    products takes.
    """
    for r in range(ROWS):
        if c.itemsize == 4:
            fetch_numbers(WIDTH32, c, row + r, column)
        else:
            fetch_numbers(WIDTH64, c, row + r, column)


@jit(counted=False)
def copy_corner(a, row, column, b, to_row, to_column, rows, columns):
    """b[to_row : to_row + rows, to_column : to_column + columns] = a[row : row + rows, column : column + columns]."""
    for r in range(rows):
        for j in range(columns):
            b[to_row + r, to_column + j] = a[row + r, column + j]
