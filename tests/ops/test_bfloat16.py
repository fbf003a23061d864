"""Products in bfloat16 on the CPU: rounding, layouts, both tiles against NumPy with the same roundings, and what is refused.

They run where the processor has AVX512-BF16, whose instruction rounds the operands of both tiles (elsewhere LLVM calls a function
that nobody provides, and ends the process); the matrix tile has its instructions replaced by loops there: that they are those of
AMX, the assembly shows.
"""

import llvmlite.binding
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

import minilm
from minilm import devices, ops
from minilm.compiled.jit import jit
from minilm.ops import bfloat16, precision, target
from minilm.ops.bfloat16 import blocks, matrix_tile, operands, panels, weights
from minilm.ops.bfloat16.pair_tile import pair_tile
from minilm.ops.memory import address
from minilm.ops.product import product, transposed_product
from tests.ops.rounding import UNIT, rounded

UNITS = target.bfloat16_units()
REASON = f"{target.chosen()} has no AVX512-BF16"
pairs = pytest.mark.skipif(not UNITS, reason=REASON)
KINDS = [
    pytest.param(panels.PairPanels, marks=pairs, id="vdpbf16ps"),
    pytest.param(panels.LoopPanels, marks=pairs, id="loops"),
    pytest.param(panels.TilePanels, marks=pytest.mark.skipif("amx" not in UNITS, reason="no AMX"), id="tdpbf16ps"),
]
SIZES = st.sampled_from([1, 2, 3, 7, 13, 14, 16, 31, 32, 33, 63, 64, 65, 129])
DEPTHS = SIZES | st.sampled_from([blocks.BLOCK, blocks.BLOCK + 1, 2 * blocks.BLOCK + 7])
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 3.4028235e38, -3.4e38, 1.17549435e-38, 1.0039062, 1.01171875]


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def exact(a, b):
    """The product of the rounded operands in float64."""
    return rounded(a, "bf16").astype(np.float64) @ rounded(b, "bf16").astype(np.float64)


def close(result, a, b):
    """The error of a sum in float32: K roundings, relative to the largest of its terms' sums."""
    bound = (a.shape[1] + 2) * 2.0**-23 * (np.abs(rounded(a, "bf16")) @ np.abs(rounded(b, "bf16"))).max(initial=1e-30)
    assert np.isfinite(result).all()
    assert np.abs(result - exact(a, b)).max(initial=0) <= bound


@pytest.fixture
def kind(request, monkeypatch):
    """Products by one kind of panels."""
    monkeypatch.setattr(target, "bfloat16_unit", lambda: "chosen")
    for module in (blocks, weights):
        monkeypatch.setattr(module, "KINDS", {"chosen": request.param})
    return request.param


# --- operands ---------------------------------------------------------------------------------------------------------


@pairs
@pytest.mark.parametrize("transposed", [False, True])
@given(M=SIZES, K=SIZES)
def test_rows(M, K, transposed):
    a = numbers(M, K)
    a.flat[: len(SPECIAL)] = SPECIAL[: a.size]
    words = operands.rows(np.ascontiguousarray(a.T) if transposed else a, transposed)
    halves = words.view(np.uint16)[:M, : -(-K // 32) * 32]
    result = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
    np.testing.assert_array_equal(result[:, :K], rounded(a, "bf16"))  # NaN is NaN
    assert not halves[:, K:].any()


@pairs
@pytest.mark.parametrize("transposed", [False, True])
@given(N=SIZES, K=SIZES)
def test_panels(N, K, transposed):
    b = numbers(K, N)
    b.flat[: len(SPECIAL)] = SPECIAL[: b.size]
    (packed,) = weights.packed([np.ascontiguousarray(b.T) if transposed else b], transposed) if UNITS else [None]
    if packed is None:
        pytest.skip(REASON)
    words = packed.words  # (panels, words, 32)
    halves = np.stack([words << np.uint32(16), words & np.uint32(0xFFFF0000)], axis=2).view(np.float32)  # (P, words, 2, 32)
    whole = halves.transpose(1, 2, 0, 3).reshape(2 * words.shape[1], -1)  # (K and zeros, N and zeros)
    np.testing.assert_array_equal(whole[:K, :N], rounded(b, "bf16"))
    assert not whole[K:].any() and not whole[:, N:].any()


# --- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@given(M=SIZES, N=SIZES, K=DEPTHS, transposed=st.booleans())
def test_product(kind, M, N, K, transposed):
    a, b = numbers(M, K), numbers(K, N, seed=1)
    around = np.full((M + 2, N + 3), np.nan, np.float32)
    out = around[1:-1, 2:-1]  # rows that are no neighbours in memory
    with minilm.Workspace(poison=True):
        bfloat16.product(a, np.ascontiguousarray(b.T) if transposed else b, out, transposed=transposed)
    close(out, a, b)
    assert np.isnan(around).sum() == around.size - out.size


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@given(M=SIZES, N=SIZES, K=SIZES)
def test_transposed_product(kind, M, N, K):
    a, b = numbers(K, M + 3)[:, 1 : M + 1], numbers(K, N, seed=1)
    out = np.full((M, N), np.nan, np.float32)
    bfloat16.transposed_product(a, b, out)
    close(out, a.T, b)


@jit
def _multiply(first, last, a, packed, c, add):
    weights.multiply(first, last, a, packed, c, add)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@given(M=SIZES, N=SIZES, K=DEPTHS, add=st.booleans())
def test_packed_weights(kind, M, N, K, add):
    a, W = numbers(M + 2, K), numbers(N, K, seed=1)
    (packed,) = weights.packed([W], True)
    assert type(packed) is kind
    c = np.full((M + 2, N), 0.5, np.float32)
    _multiply(1, M + 1, a, packed, c, add)
    close(c[1:-1] - (0.5 if add else 0), a[1:-1], W.T)
    assert (c[[0, -1]] == 0.5).all()


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_bits_do_not_depend_on_threads_or_other_rows(kind):
    a, W = numbers(300, 96), numbers(300, 96, seed=1)
    whole, few = np.empty((300, 300), np.float32), np.empty((5, 300), np.float32)
    for threads in (1, 2, 3):
        devices.set_threads(threads)
        out = np.empty_like(whole)
        bfloat16.product(a, W, out, transposed=True)
        if threads > 1:
            np.testing.assert_array_equal(out, whole)
        whole[...] = out
    bfloat16.product(a[131:136], W, few, transposed=True)
    np.testing.assert_array_equal(few, whole[131:136])


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_nan_and_infinity_stay(kind):
    a, W, out = numbers(20, 40), numbers(50, 40, seed=1), np.empty((20, 50), np.float32)
    a[3, 7], a[5, 39], W[8, 0] = np.nan, np.inf, -np.inf
    bfloat16.product(a, W, out, transposed=True)
    with np.errstate(invalid="ignore"):
        wanted = exact(a, W.T)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(out), np.isinf(wanted))


@jit
def _one_word(a, b, c):
    pair_tile(1, address(a), a.strides[0], address(b), address(c), c.strides[0], 1, True)
    return a[0, 0], b[0, 0]  # in use until here


@pairs
def test_the_instruction_rounds_as_the_manual_says():
    """Two fused multiply-adds, the upper halves' first. A product of bfloat16 and the sums here are exact in float64."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-2, 1e2):
        left, right = (rounded(scale * rng.standard_normal(shape), "bf16") for shape in ((2, 1), (2, 32)))
        c = rng.standard_normal((1, 32)).astype(np.float32)
        words = [(x.view(np.uint32)[:1] >> np.uint32(16)) | x.view(np.uint32)[1:] for x in (left, right)]
        wanted = (left[1].astype(np.longdouble) * right[1] + c[0]).astype(np.float32)
        wanted = (left[0].astype(np.longdouble) * right[0] + wanted).astype(np.float32)
        _one_word(*words, c)
        np.testing.assert_array_equal(c[0], wanted)


# --- AMX --------------------------------------------------------------------------------------------------------------


def assembled(page):
    """Assembly of a page's tile for a processor with AMX, and its instructions' names in order."""
    module, index = ir.Module(), ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [index] * 6), "tiles")
    builder = ir.IRBuilder(function.append_basic_block())
    page.emit(builder, page.Instructions(builder), *function.args)
    builder.ret_void()
    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    triple = llvmlite.binding.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = triple.create_target_machine(cpu="sapphirerapids", opt=3)
    assembly = machine.emit_assembly(llvmlite.binding.parse_assembly(str(module)))
    return assembly, [line.split()[0] for line in assembly.splitlines() if line.startswith("\t")]


def test_the_matrix_tile_is_made_of_amx_instructions():
    """Four products a step of four loads, in all eight registers, which are configured once."""
    assembly, body = assembled(matrix_tile)
    counts = {name: body.count(name) for name in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tilestored")}
    assert counts == {"ldtilecfg": 1, "tileloadd": 8, "tdpbf16ps": 4, "tilestored": 4}
    assert all(f"%tmm{i}" in assembly for i in range(8))
    first, last = body.index("tdpbf16ps"), len(body) - body[::-1].index("tdpbf16ps")
    assert "tileloadd" not in body[first:last] and "tilestored" not in body[:first]  # nothing is spilled


# --- the setting ------------------------------------------------------------------------------------------------------


def test_what_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(target, "bfloat16_units", lambda: ())
    x, W = numbers(3, 4), numbers(5, 4)
    with (
        minilm.precision("bf16"),
        pytest.raises(ValueError, match="'bf16' on a CPU wants AVX512-BF16 or AMX, got .* and neither"),
    ):
        ops.linear.forward(x, W)
    with minilm.precision("tf32"), pytest.raises(ValueError, match="precision 'tf32' is for a GPU: on a CPU it is"):
        ops.linear.forward(x, W)
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bf16, got 'half'"), minilm.precision("half"):
        pass


def test_the_unit_that_is_chosen(monkeypatch):
    monkeypatch.delenv("MINILM_ISA", raising=False)
    monkeypatch.setattr(target, "bfloat16_units", lambda: ("avx512_bf16", "amx"))
    assert target.bfloat16_unit() == "amx"
    for level in ("amx", "avx512_bf16"):
        monkeypatch.setenv("MINILM_ISA", level)
        assert target.bfloat16_unit() == level
    monkeypatch.setenv("MINILM_ISA", "avx512")
    with pytest.raises(ValueError, match="wants AVX512-BF16 or AMX, which MINILM_ISA=avx512 leaves out"):
        target.bfloat16_unit()
    monkeypatch.setattr(target, "bfloat16_units", lambda: ("avx512_bf16",))
    monkeypatch.setenv("MINILM_ISA", "amx")
    with pytest.raises(ValueError, match="MINILM_ISA=amx, but .* has no AMX"):
        target.bfloat16_unit()


@pairs
def test_float64_is_not_rounded():
    a, W = numbers(9, 20).astype(np.float64), numbers(7, 20).astype(np.float64)
    out = np.empty((2, 9, 7))
    for i, setting in enumerate(("float32", "bf16")):
        with minilm.precision(setting):
            product(a, W, out[i], transposed=True)
    np.testing.assert_array_equal(out[0], out[1])


@pairs
@pytest.mark.parametrize("name", ["linear", "lstm", "gru"])
def test_ops(name):
    """Every product of an op is rounded, and nothing else: its results are some roundings away from float32's."""
    op = ops.registry()[name]
    dims = {**op.tiny(), **{letter: 33 for letter in "IODH" if letter in op.dims}}
    case = op.draw(np.random.default_rng(0), np.float32, dims)
    package = getattr(ops, name)
    results = []
    for setting in ("float32", "bf16"):
        with minilm.precision(setting):
            y, saved = package.forward(**case.arguments)
            first = y if isinstance(y, np.ndarray) else y[0]
            results.append([first, *package.backward(numbers(*first.shape, seed=5), saved)])
    for one, other in zip(*results, strict=True):
        error, largest = np.abs(one - other).max(), np.abs(one).max()
        assert error <= 16 * UNIT["bf16"] * largest
        assert one.ndim == 1 or error > UNIT["bf16"] / 32 * largest  # all but biases' gradients are products, or follow one
    assert precision.chosen() == "float32"


@pairs
def test_the_products_with_recurrent_weights_are_rounded():
    """With x = 0 and one step nothing else is multiplied: h after it, and dh0."""
    x, h0, c0, W, b = np.zeros((1, 5, 33), np.float32), numbers(5, 33), numbers(5, 33, seed=1), numbers(132, 33), numbers(132)
    results = []
    for setting in ("float32", "bf16"):
        with minilm.precision(setting):
            output, saved = ops.lstm.forward(x, h0, c0, W, W, b, b)
            results.append((output.h_n, ops.lstm.backward(numbers(1, 5, 33), saved)[1]))
    for one, other in zip(*results, strict=True):
        assert UNIT["bf16"] / 32 < np.abs(one - other).max() / np.abs(one).max() < 16 * UNIT["bf16"]


@pairs
def test_no_rows():
    with minilm.precision("bf16"):
        y, saved = ops.linear.forward(np.zeros((0, 5), np.float32), numbers(3, 5))
        dx, dW, _ = ops.linear.backward(y, saved)
    assert y.shape == (0, 3) and dx.shape == (0, 5) and not dW.any()
    out = np.ones((4, 3), np.float32)
    with minilm.precision("bf16"):
        transposed_product(np.zeros((0, 4), np.float32), np.zeros((0, 3), np.float32), out)
    assert not out.any()


@pairs
@pytest.mark.parametrize("shape", [(160, 20), (20, 160)])
def test_muon_bounds_the_singular_values_of_a_gradient_of_low_rank(shape):
    # by squares of its singular values, which float32 may, the small ones would be lost, and the step as long as any
    left, right = numbers(shape[0], 3), numbers(3, shape[1])
    gradient = left @ right + 0.01 * numbers(*shape)
    W, momentum = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    with minilm.precision("bf16"):
        ops.muon.step(W, gradient, momentum, step=1, lr=1.0, weight_decay=0.0, size="original")
    singular = np.linalg.svd(W, compute_uv=False) / max(1, shape[0] / shape[1]) ** 0.5
    assert 0.6 < singular[2] <= singular[0] < 1.3


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("M, N, K", [(1, 33, 20), (150, 300, 2100), (3, 40, 0)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_bias_is_added_to_every_row(kind, M, N, K, transposed):
    a, W, bias = numbers(M, K), numbers(*((N, K) if transposed else (K, N)), seed=1), numbers(N, seed=2)
    plain, biased = np.full((2, M, N), np.nan, np.float32)
    bfloat16.product(a, W, plain, transposed=transposed)
    bfloat16.product(a, W, biased, transposed=transposed, bias=bias)
    assert np.array_equal(biased, plain + bias)
