"""A packed right operand, and the product of rows by one panel of it: by the instruction that its type names.

A kernel is compiled for the types of its arguments. So the panels' type says how they are multiplied, and no kernel asks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from minilm.compiled.jit import jit
from minilm.ops.bfloat16 import pair_tile
from minilm.ops.bfloat16.matrix_tile import HIGH, SIDE, cleared, copied, tiles_by_instructions, tiles_by_loops
from minilm.ops.bfloat16.operands import BYTES, WIDTH


class PairPanels(NamedTuple):
    """For `minilm.ops.bfloat16.pair_tile`."""

    words: np.ndarray


class TilePanels(NamedTuple):
    """For `minilm.ops.bfloat16.matrix_tile`, on a processor with AMX."""

    words: np.ndarray


class LoopPanels(NamedTuple):
    """For the same without AMX: the tests'."""

    words: np.ndarray


def _by_tiles(tiles):
    @jit
    def by_tiles(a, a_step, rows, panel, c, c_step, words, add, edge):
        steps, step = -(-words // SIDE), WIDTH * BYTES
        whole = rows - rows % HIGH
        if not add:
            cleared(c, c_step, whole)
        for row in range(0, whole, HIGH):
            tiles(a + row * a_step, a_step, panel, c + row * c_step, c_step, steps)
        rest, target = rows - whole, c + whole * c_step
        if rest > 0:
            if add:
                copied(target, c_step, edge, step, rest, WIDTH)
            else:
                cleared(edge, step, rest)
            tiles(a + whole * a_step, a_step, panel, edge, step, steps)
            copied(edge, step, target, c_step, rest, WIDTH)

    return by_tiles


@jit
def _by_pairs(a, a_step, rows, panel, c, c_step, words, add, edge):
    pair_tile.rows_by_panel(a, a_step, rows, panel, c, c_step, words, add)


KINDS = {"avx512_bf16": PairPanels, "amx": TilePanels}
PRODUCTS = {PairPanels: _by_pairs, TilePanels: _by_tiles(tiles_by_instructions), LoopPanels: _by_tiles(tiles_by_loops)}
CHUNK = {PairPanels: 8 * 14, TilePanels: 4 * HIGH, LoopPanels: 4 * HIGH}  # rows: whole tiles


def rows_by_panel(kind, a, a_step, rows, panel, c, c_step, words, add, edge):
    """c (rows, WIDTH) = a @ b, or += with `add`: addresses, and bytes from row to row.

    `kind` is panels of the wanted type; there are HIGH by WIDTH words from `edge` on.
    """
    PRODUCTS[type(kind)](a, a_step, rows, panel, c, c_step, words, add, edge)


@overload(rows_by_panel)
def _rows_by_panel(kind, a, a_step, rows, panel, c, c_step, words, add, edge):
    product = PRODUCTS[kind.instance_class]

    def by_kind(kind, a, a_step, rows, panel, c, c_step, words, add, edge):
        product(a, a_step, rows, panel, c, c_step, words, add, edge)

    return by_kind
