"""Causal and banded attention where queries and keys begin at different places of the kernels' tiles.

A kernel leaves out the tiles of keys that no query of a tile sees. One key too few shows only where a tile's last key is the
first of another: at some offsets of keys against queries, which the agreement tests draw by luck.
"""

import pytest

from tests.ops import gpu
from tests.ops.properties import OPS, reference, run

TILES = (16, 32)  # queries and keys of the GPU's tiles, of which the CPU's are multiples; tensor cores have tests of their own
OFFSETS = sorted({tile * factor + step for tile in TILES for factor in (0, 1, 2) for step in (-1, 0, 1)})
OPTIONS = [{"sees": sees, "padded": False, "dropout": 0.0} for sees in ("causal", "causal band", "band")]


def cases(queries):
    """(dims, options): keys before the first query, as a cache has them; and fewer keys than queries."""
    for options in OPTIONS:
        for offset in OFFSETS:
            yield {"B": 1, "Tq": queries, "Tk": max(1, queries + offset), "H": 1, "K": 3, "Kv": 2}, options
    for fewer in (1, 16, queries // 2):
        yield {"B": 1, "Tq": queries, "Tk": queries - fewer, "H": 1, "K": 3, "Kv": 2}, OPTIONS[0]


@pytest.mark.parametrize("queries", (33, 130))
def test_the_cpu_sees_every_key(queries):
    op = OPS["attention"]
    for dims, options in cases(queries):
        known, expected = reference(op, options, dims)
        for dtype, case in known.items():
            expected.compare(f"{dims} {options}", run(op, "cpu", case), dtype)


@pytest.mark.parametrize("queries", (17, 33))
def test_the_gpu_sees_every_key(queries):
    op = OPS["attention"]
    with gpu.emulated():
        numbers = gpu.versions(op)
        for dims, options in cases(queries):
            known, expected = reference(op, options, dims)
            dtype, case = next(iter(known.items()))
            for number in numbers:
                with gpu.version(op, number):
                    expected.compare(f"version {number} {dims} {options}", gpu.run(op, case), dtype)
