"""Quantisation and its products: the NumPy oracle against the formulas, the kernels against the oracle."""

import llvmlite.binding
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit

import minilm
from minilm import devices
from minilm.ops import product as products
from minilm.ops import target
from minilm.ops.memory import address
from minilm.quantized import cpu, dot, oracle, packing

SIZES = st.sampled_from([1, 2, 3, 5, 8, 31, 32, 33, 64, 65, 130])
GROUPS = st.sampled_from([4, 32, 64, None])


def numbers(*shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) * np.exp(rng.standard_normal(shape))).astype(np.float32)


def multiplied(x, W):
    """x by packed weights, written inside a larger array of NaN, of which nothing else may be touched."""
    N, O = len(x), W.shape[0]
    around = np.full((N + 2) * O, np.nan, np.float32)
    out = around[O : O + N * O].reshape(N, O)
    with minilm.Workspace(poison=True):
        cpu.product(x, W, out)
    assert np.isnan(around[:O]).all() and np.isnan(around[-O:]).all()
    return out


@given(K=SIZES, group=GROUPS)
def test_codes_are_within_half_a_step(K, group):
    W = numbers(7, K)
    W[3] = 0
    group = packing.group_of(group, K)
    codes, scales = oracle.quantize(W, group)
    assert codes.dtype == np.int8 and np.abs(codes.astype(int)).max() <= 127
    assert (np.abs(codes.astype(int)).max(axis=1)[np.arange(7) != 3] == 127).all()
    steps = np.repeat(scales, group, axis=1)[:, :K]
    assert (np.abs(oracle.dequantize(codes, scales, group) - W) <= steps * 0.50001).all()
    again, same = oracle.quantize(oracle.dequantize(codes, scales, group), group)
    assert np.array_equal(again, codes) and np.allclose(same, scales, rtol=1e-6)


@given(K=SIZES, group=GROUPS)
def test_codes_of_a_row_of_whole_numbers_are_they(K, group):
    group = packing.group_of(group, K)
    x, G = np.random.default_rng(K).integers(-127, 128, (3, K)), -(-K // group)
    x[:, ::group] = 127  # the largest of each group: the scale is one
    codes, scales, begin = np.full((3, G * group), 99, np.int8), np.empty((G, 3), np.float32), np.empty((G, 3), np.int32)
    cpu.quantize_rows(0, 3, x.astype(np.float32), group, codes, scales, begin)
    assert np.array_equal(codes[:, :K], x) and not codes[:, K:].any() and (scales == 1).all()
    assert np.array_equal(begin, -128 * codes.reshape(3, G, group).sum(axis=2, dtype=np.int32).T)


@given(N=SIZES, O=SIZES, K=SIZES, group=GROUPS)
def test_int8_products(N, O, K, group):
    x, W = numbers(N, K), numbers(O, K, seed=1)
    packed = packing.packed(W, "int8", group)
    codes, scales = oracle.quantize(W, packed.group)
    y, expected = multiplied(x, packed), oracle.product(x, codes, scales, packed.group)
    terms = np.abs(x) @ np.abs(W).T + 1e-30
    assert (np.abs(y - expected) <= 1e-6 * terms).all()  # the oracle rounds products and sums apart
    p, t = oracle.quantize(x, packed.group)
    dx, dW = (np.repeat(each, packed.group, axis=1)[:, :K] / 2 for each in (t, scales))
    bound = np.abs(x) @ dW.T + dx @ np.abs(W).T + dx @ dW.T
    assert (np.abs(y - x @ W.T) <= 1.0001 * bound + 1e-5 * terms).all()


@given(N=SIZES, O=SIZES, K=st.sampled_from([32, 33, 63, 64, 65, 130]))
def test_int4_products(N, O, K):
    x, W = numbers(N, K), numbers(O, K, seed=1) - np.float32(0.3)
    codes, scales, least = oracle.quantize_int4(W)
    weight = packing.packed(W, "int4", None)
    for one, other in zip(packing.unpacked(weight), (codes, scales, least), strict=True):
        assert np.array_equal(one, other)
    rounded = packing.rounded(weight)
    assert np.array_equal(rounded, oracle.dequantize_int4(codes, scales, least)) and codes.max() <= 15
    steps = np.repeat(scales.astype(np.float32), 32, axis=1)[:, :K]
    float16 = 2.0**-11 * (np.abs(W) + 16 * steps)  # of the scale, fifteen times, and of the least number
    assert (np.abs(rounded - W) <= 0.5001 * steps + float16).all()
    y, expected = multiplied(x, weight), oracle.product_int4(x, codes, scales, least)
    m = np.repeat(np.abs(least.astype(np.float32)), 32, axis=1)[:, :K]
    assert (np.abs(y - expected) <= 2e-6 * (np.abs(x) @ (np.abs(rounded) + 2 * m).T + 1e-30)).all()


@given(N=SIZES, O=SIZES, K=SIZES)
def test_bfloat16_products_are_those_of_the_rounded_weights(N, O, K):
    x, W = numbers(N, K), numbers(O, K, seed=1)
    rounded = oracle.from_bfloat16(oracle.to_bfloat16(W))
    assert (np.abs(rounded - W) <= 2.0**-8 * np.abs(W)).all()
    expected = np.empty((N, O), np.float32)
    products.product(x, rounded, expected, transposed=True)
    assert np.array_equal(multiplied(x, packing.packed(W, "bf16", None)), expected)


def test_bfloat16_rounds_halves_to_even_and_keeps_nan():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F7FFFFF], np.uint32)
    halves = oracle.to_bfloat16(bits.view(np.float32))
    assert halves[:5].tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0xFF80]
    assert np.isnan(oracle.from_bfloat16(halves[5:6])).all() and halves[6] == 0x7F80


@pytest.mark.parametrize("kind", ["int8", "bf16", "int4"])
def test_bits_of_a_row_are_its_own(kind):
    x, W = numbers(37, 70), packing.packed(numbers(100, 70, seed=1), kind, 32)
    devices.set_threads(1)
    whole = multiplied(x, W)
    for threads in (1, 2, 3):
        devices.set_threads(threads)
        for first, rows in ((0, 1), (3, 2), (1, 4), (5, 7), (0, 37)):
            assert np.array_equal(multiplied(x[first : first + rows], W), whole[first : first + rows])


@pytest.mark.parametrize("place", [0, 3, 35, 69])  # in the vectors of each group, and behind the last
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad, place):
    x, W = numbers(2, 70), numbers(40, 70, seed=1)
    x[1, place] = bad
    for kind, group in (("int8", 32), ("int8", None), ("bf16", None), ("int4", 32)):
        packed = packing.packed(W, kind, group)
        y = multiplied(x, packed)
        assert np.isfinite(y[0]).all() and not np.isfinite(y[1]).any()


def test_every_way_of_multiplying_gives_the_same_numbers(monkeypatch):
    """AVX512-VNNI, AVX2, sdot and plain: each compiled here without the cache, where this processor has it."""
    without_vnni = "madd" if dot.VECTOR == 64 else "maddubs"
    ways = {"vnni": ("vnni", without_vnni), "plain": ()}.get(dot.instructions(), (dot.instructions(),))
    ways += ("plain", "signed")
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (4, 64)).astype(np.int8)
    codes[0], codes[1] = 127, -127
    panel = rng.integers(0, 256, (16, dot.WIDTH, 4)).astype(np.uint8)
    panel[:, 0] = 0  # weights of -128: with codes of 127 the largest sums that there are
    begin = -128 * codes.astype(np.int32).reshape(4, 2, 32).sum(axis=2, dtype=np.int32).T.copy()  # (G, 4), of two groups
    factor, scales = np.array([[1.0] * 4, [2.0] * 4], np.float32), np.array([[1.0], [4.0]] * np.ones(dot.WIDTH), np.float32)
    weights = panel.transpose(1, 0, 2).reshape(dot.WIDTH, 64).astype(np.int32) - 128
    parts = [codes[:, half].astype(np.int32) @ weights[:, half].T for half in (slice(32), slice(32, 64))]
    shift = np.arange(dot.WIDTH, dtype=np.float32)
    expected = parts[0] + 8 * parts[1] + shift
    fours = rng.integers(0, 16, (dot.WIDTH, 64)).astype(np.uint8)  # of int4, with scales 1 and 4 as above, and 8 taken off
    fours[0] = 15
    small = packing.pack_int4(fours, *(np.tile(np.array(pair, np.float16), (dot.WIDTH, 1)) for pair in ([1, 4], [-8, -32])))
    parts = [codes[:, half].astype(np.int32) @ (fours[:, half].T - 8.0) for half in (slice(32), slice(32, 64))]
    expected_int4 = parts[0] + 8 * parts[1] + shift
    seen = []
    for way in ways:
        monkeypatch.setattr(dot, "instructions", lambda way=way: seen.append(way) or way)
        out = np.zeros((4, dot.WIDTH), np.float32)

        @njit
        def multiply(a, b, c, d, e, f, g):
            codes, panel, begin, factor, scales = address(a), address(b), address(c), address(d), address(e)
            dot.multiply_rows(4, codes, 64, 4, panel, 8, 2, begin, factor, 16, scales, address(f), address(g), 4 * dot.WIDTH)

        @njit
        def multiply_int4(a, b, c, d, e, f, g):
            codes, panel, begin, factor, scales = address(a), address(b), address(c), address(d), address(e)
            step = 4 * dot.WIDTH
            dot.multiply_rows_int4(4, codes, 64, 4, panel, 4, 2, begin, factor, 16, scales, address(f), address(g), step)

        multiply(codes, panel, begin, factor, scales, shift, out)
        assert np.array_equal(out, expected), way
        multiply_int4(codes, small.panels, begin, factor, small.scales, shift, out)
        assert np.array_equal(out, expected_int4), way
    assert tuple(seen) == tuple(way for way in ways for _ in range(2))


def test_sdot_is_one_instruction():
    """Compiled for an ARM processor that has it; "signed" above is its arithmetic in plain code."""
    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    words, module = ir.VectorType(ir.IntType(32), 4), ir.Module()
    function = ir.Function(module, ir.FunctionType(words, [words] * 3), "products")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(dot._emit_dot(builder, "sdot", *function.args))
    triple = llvmlite.binding.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = triple.create_target_machine(cpu="neoverse-n1", opt=3)
    lines = machine.emit_assembly(llvmlite.binding.parse_assembly(str(module))).splitlines()
    assert [line.split() for line in lines if "v0." in line] == [["sdot", "v0.4s,", "v1.16b,", "v2.16b"]]


def test_sdot_is_chosen_where_there_is_dotprod(monkeypatch):
    monkeypatch.setattr(target, "vector_bytes", lambda: 16)
    for features, way in (("+neon,+dotprod", "sdot"), ("+neon", "plain"), ("+sse4.2", "plain")):
        monkeypatch.setattr(target, "features", lambda features=features: features)
        assert target.int8_instructions() == way
