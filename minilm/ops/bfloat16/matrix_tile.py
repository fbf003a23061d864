"""How a matrix product reaches the peak of a matrix unit: AMX, where a register holds a matrix.

`minilm.ops.tile` explains the register tile, which keeps R rows by two vectors of sums in vector registers and loads a number of
a and a vector of b for each product of the two. AMX (Intel, from Sapphire Rapids on) has the same tile in hardware: eight
registers of 1 KiB, tmm0 to tmm7, each 16 rows of 64 bytes, and an instruction that multiplies two of them into a third::

    tdpbf16ps c, a, b          c (16, 16) float32, a (16, 16 pairs), b (16 pairs, 16)

    for m in range(16):
        for n in range(16):
            even = odd = 0
            for i in range(16):
                even += a[m, i].lower * b[i, n].lower         fused multiply-adds, rounded to nearest, ties to even
                odd += a[m, i].upper * b[i, n].upper
            c[m, n] += even + odd

**Layout.** A row of a is 64 bytes of one row of the left matrix: 32 bfloat16, k after k, as they lie. A row of b holds, for 16
columns, the *pair* of numbers 2i and 2i + 1 of k: the word that ``vdpbf16ps`` takes too, so both read the same operands
(`minilm.ops.bfloat16.operands`). Were b's rows one number of k each, the unit would have to gather a pair from two rows.

**Blocking.** An instruction is 16 x 16 x 32 = 8,192 multiply-adds, and the unit begins one every 16 cycles: 1,024 operations a
cycle, where ``vdpbf16ps`` does 128 on two ports. A load of a tile is 16 lines from the nearest cache, 8 cycles with two loads a
cycle. With a and b loaded anew for every instruction the unit waits for them. So four sums are kept, 2 x 2 tiles::

    for i in range(0, words, 16):
        a0, a1 = a[0:16, i : i + 16], a[16:32, i : i + 16]    2 loads
        b0, b1 = b[i : i + 16, 0:16], b[i : i + 16, 16:32]    2 loads
        c00 += a0 b0;  c01 += a0 b1                           4 products
        c10 += a1 b0;  c11 += a1 b1

four loads of 8 cycles against four products of 16, in all eight registers. The sums stay where they are over a block of k; what
is left of rows and columns goes through a buffer of 32 by 32, so that all tiles are whole and there is one configuration.

**Configuration and permission.** Before use, ``ldtilecfg`` says how many rows and bytes a row each register has. LLVM does that:
its intrinsics ending in ``.internal`` take the shape as arguments, and it writes the configuration before the first of them.
The registers are 8 KiB of state that Linux saves for a process only after it has asked (`minilm.ops.target`).

**Rates.** Measured on one core of an Emerald Rapids by a probe: 2.0 TFLOP/s from registers, 0.39 where each tile was loaded anew;
PyTorch's 2048³ product 0.67 on two cores, where float32 made 0.20 to 0.24. The kernel of this file has been compiled for such a
processor, and its arithmetic tested through `Loops`, on a machine without AMX. It has not been timed, and a processor that has
AMX tries it in a process of its own first (`minilm.compiled.trial`).

Denormals are read and written as zeros. Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter
"Programming with Intel AMX", and volume 2, TDPBF16PS; Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter
"Intel AMX"; LLVM, lib/Target/X86/X86LowerAMXType.cpp and X86PreTileConfig.cpp.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minilm.compiled.jit import jit
from minilm.ops.bfloat16.llvm import TILE
from minilm.ops.bfloat16.operands import BYTES, LANES, WIDTH, WORD
from minilm.ops.memory import numbers

SIDE = LANES  # rows of a tile, and words of a row
ROW = SIDE * BYTES
HIGH = 2 * SIDE  # rows of the 2 by 2 tiles of sums; they have WIDTH columns

_index, _byte, _short = ir.IntType(64), ir.IntType(8).as_pointer(), ir.IntType(16)
_real, _word = ir.FloatType(), ir.IntType(32)


class Instructions:
    """The operations on tiles, as LLVM's intrinsics."""

    def __init__(self, builder):
        self._builder = builder

    def _call(self, name, result, *arguments):
        """An intrinsic, whose first arguments are rows and bytes a row."""
        shape = _short(SIDE), _short(ROW)
        kinds = [value.type for value in (*shape, *arguments)]
        kind = ir.FunctionType(result, kinds)
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.x86.{name}.internal")
        return self._builder.call(function, [*shape, *arguments])

    def load(self, address, step):
        """16 rows of 64 bytes, `step` bytes apart."""
        return self._call("tileloadd64", TILE, self._builder.inttoptr(address, _byte), step)

    def begin(self, address, step):
        """What sums begin with: those that are there."""
        return self.load(address, step)

    def dot(self, c, a, b):
        """c + a b."""
        return self._call("tdpbf16ps", TILE, _short(ROW), c, a, b)

    def store(self, tile, address, step):
        """16 rows of 64 bytes."""
        self._call("tilestored64", ir.VoidType(), self._builder.inttoptr(address, _byte), step, tile)


class Loops:
    """The same operations in plain code, for processors without AMX: a tile is the address of 1 KiB on the stack."""

    def __init__(self, builder):
        self._builder = builder

    def _at(self, tile, row, column, kind):
        """Pointer to a word of a tile."""
        b = self._builder
        offset = b.add(b.mul(row, _index(ROW)), b.mul(column, _index(BYTES)))
        return b.inttoptr(b.add(tile, offset), kind.as_pointer())

    def _each(self):
        """Loop over all numbers up to 16."""
        return cgutils.for_range(self._builder, _index(SIDE), intp=_index)

    def _copy(self, source, source_step, target, target_step):
        b = self._builder
        with self._each() as row, self._each() as column:
            offset = b.mul(column.index, _index(BYTES))
            starts = b.add(source, b.mul(row.index, source_step)), b.add(target, b.mul(row.index, target_step))
            read, written = (b.inttoptr(b.add(start, offset), _word.as_pointer()) for start in starts)
            b.store(b.load(read), written)

    def _room(self):
        """The address of a new tile."""
        return self._builder.ptrtoint(cgutils.alloca_once(self._builder, _word, size=SIDE * SIDE), _index)

    def load(self, address, step):
        """16 rows of 64 bytes, `step` bytes apart."""
        tile = self._room()
        self._copy(address, step, tile, _index(ROW))
        return tile

    def begin(self, address, step):
        """What sums begin with: those that are there."""
        return self.load(address, step)

    def dot(self, c, a, b):
        """c + a b, written where c is."""
        build = self._builder
        fma = cgutils.get_or_insert_function(build.module, ir.FunctionType(_real, [_real] * 3), "llvm.fma.f32")

        def halves(word):
            bits = build.shl(word, _word(16)), build.and_(word, _word(0xFFFF0000))
            return [build.bitcast(half, _real) for half in bits]

        with self._each() as m, self._each() as n:
            sums = [cgutils.alloca_once_value(build, _real(0.0)) for _ in range(2)]
            for total in sums:
                build.store(_real(0.0), total)
            with self._each() as i:
                left = halves(build.load(self._at(a, m.index, i.index, _word)))
                right = halves(build.load(self._at(b, i.index, n.index, _word)))
                for total, x, y in zip(sums, left, right, strict=True):
                    build.store(build.call(fma, [x, y, build.load(total)]), total)
            place = self._at(c, m.index, n.index, _real)
            build.store(build.fadd(build.load(place), build.fadd(*map(build.load, sums))), place)
        return c

    def store(self, tile, address, step):
        """16 rows of 64 bytes."""
        self._copy(tile, _index(ROW), address, step)


def emit(builder, unit, a, a_step, b, c, c_step, steps):
    """c (32, WIDTH) += a @ b over `steps` >= 1 tiles of k, by the operations of `unit`: addresses, and bytes from row to row."""
    b_step = _index(WIDTH * BYTES)

    def corners(start, step):
        """The addresses of the tiles of two rows of tiles, one below the other."""
        return start, builder.add(start, builder.mul(_index(SIDE), step))

    sums = [[(row, builder.add(row, _index(ROW)))[half] for half in range(2)] for row in corners(c, c_step)]
    started = [[unit.begin(place, c_step) for place in row] for row in sums]
    before, loop = builder.block, builder.append_basic_block("tiles")
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(_index)
    i.add_incoming(_index(0), before)
    held = [[builder.phi(first.type) for first in row] for row in started]
    left = [unit.load(builder.add(row, builder.mul(i, _index(ROW))), a_step) for row in corners(a, a_step)]
    panel = builder.add(b, builder.mul(i, _index(SIDE * WIDTH * BYTES)))
    right = [unit.load(builder.add(panel, _index(half * ROW)), b_step) for half in range(2)]
    after = [[unit.dot(held[r][h], left[r], right[h]) for h in range(2)] for r in range(2)]
    following, last = builder.add(i, _index(1)), builder.block
    i.add_incoming(following, last)
    for r in range(2):
        for h in range(2):
            held[r][h].add_incoming(started[r][h], before)
            held[r][h].add_incoming(after[r][h], last)
    end = builder.append_basic_block("end")
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)
    builder.position_at_end(end)
    for r in range(2):
        for h in range(2):
            unit.store(after[r][h], sums[r][h], c_step)


def tile_intrinsic(emit, unit):
    """For kernels: code of six numbers that `emit` makes by the operations of `unit`, of which the last is at least 1."""

    def tiles(typingctx, a, a_step, b, c, c_step, steps):
        def codegen(context, builder, signature, arguments):
            emit(builder, unit(builder), *arguments)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return intrinsic(tiles)


_by_instructions, _by_loops = tile_intrinsic(emit, Instructions), tile_intrinsic(emit, Loops)


@jit
def tiles_by_instructions(a, a_step, b, c, c_step, steps):
    """c (32, WIDTH) += a @ b: a function of its own, in which nothing is called, so that it has one configuration of tiles."""
    _by_instructions(a, a_step, b, c, c_step, steps)


@jit
def tiles_by_loops(a, a_step, b, c, c_step, steps):
    """The same without AMX."""
    _by_loops(a, a_step, b, c, c_step, steps)


@jit
def copied(source, source_step, target, target_step, rows, width):
    """Words copied from rows to rows: addresses, and bytes from row to row."""
    for r in range(rows):
        read, written = numbers(source + r * source_step, width, WORD), numbers(target + r * target_step, width, WORD)
        for j in range(width):
            written[j] = read[j]


@jit
def cleared(c, step, rows):
    """Zeros in rows of WIDTH words."""
    for r in range(rows):
        row = numbers(c + r * step, WIDTH, WORD)
        for j in range(WIDTH):
            row[j] = 0
