"""The matrix tile of int8 products: AMX, whose registers hold matrices of bytes too.

`minilm.ops.bfloat16.matrix_tile` explains the unit, the blocking by 2 x 2 tiles, configuration and permission; all of it is used
here. Only the product of two registers differs::

    tdpbsud c, a, b            c (16, 16) int32, a (16, 64) signed bytes, b (16, 16 fours) unsigned bytes

    for m in range(16):
        for n in range(16):
            for i in range(16):
                for byte in range(4):
                    c[m, n] += a[m, i].byte * b[i, n].byte

**Layout.** A row of a is 64 codes of a row of x, k after k, as they lie; a row of b four codes of each of 16 outputs. That is
what ``vpdpbusd`` takes, so both multiply by the same panels (`minilm.quantized.packing.Int8`).

**Groups.** A group of g numbers has a sum of whole numbers of its own, which then becomes float32 and is multiplied by its two
scales. So after g / 64 instructions a tile's sums leave the unit, for a buffer in the nearest cache, and vectors take them in::

    for g in range(groups):
        c = 0
        c += a[:, g] b[g]                                      tiles, 64 numbers of k at a time
        total = float32(c - 128 sum(a[:, g])) (t[g] s[g]) + total

A group of 64, the usual one, is a single step of the four products, 64 cycles, beside some 200 for its 64 vectors of sums: expect
twice the speed of ``vpdpbusd``, not the eightfold that the unit has; whole rows (``group=None``) come nearer to it.

Sums of whole numbers are exact, and the rest is the arithmetic of `minilm.quantized.dot`, number by number: the bits are the
same. So whole tiles of 32 rows are left to this unit and the remaining rows to the vectors, as are groups that are no multiple
of 64.

The kernel has been compiled for such a processor, and its arithmetic tested through `Loops`, on a machine without AMX; it has
not run by the instructions, nor been timed.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBSSD/TDPBSUD/TDPBUSD/TDPBUUD.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from minilm.compiled.jit import jit
from minilm.ops.bfloat16 import matrix_tile
from minilm.ops.bfloat16.llvm import TILE
from minilm.ops.bfloat16.matrix_tile import HIGH, ROW, SIDE
from minilm.ops.bfloat16.operands import BYTES, WIDTH
from minilm.ops.memory import address, numbers
from minilm.ops.vectors import multiply_add

AT_ONCE = 4  # groups whose sums are in the buffer: 16 KiB
_index, _word, _short = ir.IntType(64), ir.IntType(32), ir.IntType(16)
_REAL, _WHOLE = np.float32(0), np.int32(0)


class Instructions(matrix_tile.Instructions):
    """The operations on tiles, with sums of whole numbers that begin at zero."""

    def begin(self, address, step):
        """Zeros."""
        return self._call("tilezero", TILE)

    def dot(self, c, a, b):
        """c + a b."""
        return self._call("tdpbsud", TILE, _short(ROW), c, a, b)


class Loops(matrix_tile.Loops):
    """The same in plain code, for processors without AMX."""

    def begin(self, address, step):
        """Zeros."""
        tile = self._room()
        with self._each() as row, self._each() as column:
            self._builder.store(_word(0), self._at(tile, row.index, column.index, _word))
        return tile

    def dot(self, c, a, b):
        """c + a b, written where c is."""
        build = self._builder
        with self._each() as m, self._each() as n:
            place = self._at(c, m.index, n.index, _word)
            with self._each() as i:
                left = build.load(self._at(a, m.index, i.index, _word))
                right = build.load(self._at(b, i.index, n.index, _word))
                total = build.load(place)
                for byte in range(4):
                    code = build.ashr(build.shl(left, _word(24 - 8 * byte)), _word(24))
                    weight = build.and_(build.lshr(right, _word(8 * byte)), _word(255))
                    total = build.add(total, build.mul(code, weight))
                build.store(total, place)
        return c


def emit(builder, unit, a, a_step, b, c, groups, steps):
    """c[g] (32, WIDTH) = a[:, g] @ b[g] for each group of `steps` >= 1 tiles of k: addresses, and bytes from row to row of a."""
    with cgutils.for_range(builder, groups, intp=_index) as loop:
        first = builder.mul(loop.index, steps)
        left = builder.add(a, builder.mul(first, _index(ROW)))
        right = builder.add(b, builder.mul(first, _index(SIDE * WIDTH * BYTES)))
        to = builder.add(c, builder.mul(loop.index, _index(HIGH * WIDTH * BYTES)))
        matrix_tile.emit(builder, unit, left, a_step, right, to, _index(WIDTH * BYTES), steps)


_by_instructions, _by_loops = (matrix_tile.tile_intrinsic(emit, unit) for unit in (Instructions, Loops))


@jit
def _tiles_by_instructions(a, a_step, b, c, groups, steps):
    # a function of its own, in which nothing is called, so that it has one configuration of tiles
    _by_instructions(a, a_step, b, c, groups, steps)


@jit
def _tiles_by_loops(a, a_step, b, c, groups, steps):
    _by_loops(a, a_step, b, c, groups, steps)


@jit
def _scaled(sums, begin, factor, scales, totals):
    # totals (32, WIDTH) += sums of a group, times its scales: of the rows, factor, and of the outputs
    begins, factors = numbers(begin, HIGH, _WHOLE), numbers(factor, HIGH, _REAL)
    of_outputs = numbers(scales, WIDTH, _REAL)
    for r in range(HIGH):
        for j in range(WIDTH):
            n = np.float32(np.int32(sums[r, j] + begins[r]))
            totals[r, j] = multiply_add(n, of_outputs[j] * factors[r], totals[r, j])


@jit
def _shifted(totals, shift, columns, out, out_step):
    # columns of out (32, .) = totals + shift
    shifts = numbers(shift, WIDTH, _REAL)
    for r in range(HIGH):
        row = numbers(out + r * out_step, columns, _REAL)
        for j in range(columns):
            row[j] = totals[r, j] + shifts[j]


def _whole(tiles):
    @jit
    def whole_tiles(
        codes, code_step, count, panel, fours, groups, begin, factor, group_step, scales, shift, columns, out, out_step
    ):
        rows = count - count % HIGH if fours % SIDE == 0 else 0
        if rows == 0:
            return 0
        sums, totals = np.empty((AT_ONCE, HIGH, WIDTH), np.int32), np.empty((HIGH, WIDTH), np.float32)
        for row in range(0, rows, HIGH):
            totals[:] = 0
            for first in range(0, groups, AT_ONCE):
                some, start = min(AT_ONCE, groups - first), codes + row * code_step + first * fours * 4
                tiles(start, code_step, panel + first * fours * WIDTH * 4, address(sums), some, fours // SIDE)
                for g in range(some):
                    own = (first + g) * group_step + row * 4
                    _scaled(sums[g], begin + own, factor + own, scales + (first + g) * WIDTH * 4, totals)
            _shifted(totals, shift, columns, out + row * out_step, out_step)
        return rows

    return whole_tiles


by_instructions, by_loops = _whole(_tiles_by_instructions), _whole(_tiles_by_loops)


@jit
def no_tiles(codes, code_step, count, panel, fours, groups, begin, factor, group_step, scales, shift, columns, out, out_step):
    """Of a processor without AMX: no row is multiplied by tiles.

    With it: out (count, columns) of the rows in whole tiles of 32, as `minilm.quantized.dot.multiply_rows` has it, whose
    arguments these are, and how many rows they are.
    """
    return 0
