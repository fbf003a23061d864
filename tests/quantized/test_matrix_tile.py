"""AMX for int8: its kernel by loops in place of the instructions gives the bits of the vectors' kernel, and is made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm.cli import info
from minilm.ops import target
from minilm.quantized import cpu, dot, matrix_tile, packing
from tests.ops.test_bfloat16 import assembled
from tests.quantized.test_products import numbers

wide = pytest.mark.skipif(dot.WIDTH != matrix_tile.WIDTH, reason="panels of the width of AVX-512's are wanted")


@pytest.fixture(scope="module")
def by_loops():
    """The kernel whose tiles are loops."""
    return cpu.kernel_of(dot.multiply_rows, matrix_tile.by_loops)


def multiplied(kernel, x, packed):
    (N, _), G = x.shape, packed.scales.shape[1]
    codes = np.empty((N, G * packed.group), np.int8)
    scales, begin = np.empty((G, N), np.float32), np.empty((G, N), np.int32)
    cpu.quantize_rows(0, N, x, packed.group, codes, scales, begin)
    O = packed.shape[0]
    around = np.full((N + 2, O), np.nan, np.float32)
    kernel(
        0, len(packed.panels), codes, scales, begin, packed.panels, packed.scales, np.arange(O, dtype=np.float32), around[1:-1]
    )
    assert np.isnan(around[[0, -1]]).all()
    return around[1:-1]


@wide
@given(
    N=st.sampled_from([1, 31, 32, 33, 64, 70]),
    O=st.sampled_from([1, 31, 32, 33, 65]),
    K=st.sampled_from([1, 63, 64, 65, 130, 700]),
    group=st.sampled_from([32, 64, 128, None]),
)
def test_tiles_give_the_bits_of_the_processors_kernel(by_loops, N, O, K, group):
    """That of vectors; on a processor with AMX, that of its instructions."""
    x, packed = numbers(N, K), packing.packed(numbers(O, K, seed=1), "int8", group)
    assert np.array_equal(multiplied(by_loops, x, packed), multiplied(cpu.multiply_int8, x, packed))


@wide
def test_the_sums_are_those_of_whole_numbers(by_loops):
    """Of the largest codes and weights too: whole groups of 64 leave the kernel as exact integers where scales are one."""
    rng = np.random.default_rng(0)
    codes, q = (rng.choice([-127, 127, -1, 3], size).astype(np.int8) for size in ((32, 192), (32, 192)))
    packed = packing.pack_int8(q, np.ones((32, 3), np.float32), 64)
    begin = -128 * codes.astype(np.int32).reshape(32, 3, 64).sum(axis=2, dtype=np.int32).T.copy()
    y = np.empty((32, 32), np.float32)
    none, ones = np.empty(0, np.float32), np.ones((3, 32), np.float32)
    by_loops(0, 1, codes, ones, begin, packed.panels, packed.scales, none, y)
    assert np.array_equal(y, codes.astype(np.int64) @ q.astype(np.int64).T)


def test_it_is_made_of_amx_instructions():
    """Four products a step of four loads, sums that begin as zeros, and one configuration for all groups."""
    assembly, body = assembled(matrix_tile)
    names = ("ldtilecfg", "tilezero", "tileloadd", "tdpbsud", "tilestored")
    assert {name: body.count(name) for name in names} == dict(zip(names, (1, 4, 4, 4, 4), strict=True))
    assert all(f"%tmm{i}" in assembly for i in range(8))
    first, last = body.index("tdpbsud"), len(body) - body[::-1].index("tdpbsud")
    assert "tileloadd" not in body[first:last] and "tilestored" not in body[:first]  # nothing is spilled


def test_when_it_is_chosen(monkeypatch):
    monkeypatch.delenv("MINILM_ISA", raising=False)
    monkeypatch.setattr(target, "features", lambda: "+avx512vnni,+avx512bw,+amx-tile,+amx-int8")
    monkeypatch.setattr(target, "vector_bytes", lambda: 64)
    monkeypatch.setattr(target, "_tiles_are_permitted", lambda: True)
    monkeypatch.setattr(target.trial, "passes", lambda module: module == "minilm.quantized.trial")
    assert target.int8_tiles() and target.int8_instructions() == "vnni"
    assert info.collect()["processor"]["int8"] == "products by tdpbsud (AMX), of what is less than 32 rows by VNNI (vpdpbusd)"
    for level in ("avx512", "avx512_bf16"):
        monkeypatch.setenv("MINILM_ISA", level)
        assert not target.int8_tiles()
    monkeypatch.setenv("MINILM_ISA", "amx")
    assert target.int8_tiles()
    monkeypatch.setattr(target.trial, "passes", lambda module: False)
    assert not target.int8_tiles()
    monkeypatch.undo()
