"""The CPU that plays tensor cores has the published lane layout, told here twice in other words than mma.h's; and its rounding.

A layout that is wrong in mma.h, in PTX's documentation and in CUTLASS alike would pass: only a real GPU is proof that the
instructions do what is written of them (tests/ops/test_on_device.py runs these kernels there).
"""

import functools
import itertools

import numpy as np
import pytest

from minilm.ops.cuda import source
from tests.cuda_on_cpu import fake_cupy, loader, sanitized
from tests.ops.rounding import bits_of, rounded

pytestmark = pytest.mark.skipif(sanitized.missing() is not None, reason=str(sanitized.missing()))
KERNELS = """
extern "C" __global__ void product(
    const u32* a,  // (32, 4)
    const u32* b,  // (32, 2)
    float* c,      // (32, 4)
    int bf16) {
    u32 own[4];
    float sums[4];
    for (int i = 0; i < 4; ++i) own[i] = a[4 * lane() + i], sums[i] = c[4 * lane() + i];
    if (bf16) mma_bf16(sums, own, b[2 * lane()], b[2 * lane() + 1]);
    else mma_tf32(sums, own, b[2 * lane()], b[2 * lane() + 1]);
    for (int i = 0; i < 4; ++i) c[4 * lane() + i] = sums[i];
}
extern "C" __global__ void load(
    const u32* x,  // (32, 4)
    u32* found,    // (32, 4)
    int turned) {
    __shared__ u32 tile[32 * 12];
    for (int i = 0; i < 4; ++i) tile[12 * lane() + i] = x[4 * lane() + i];
    __syncthreads();
    u32 r[4];
    if (turned) load_matrices_transposed(r, tile + 12 * lane());
    else load_matrices(r, tile + 12 * lane());
    for (int i = 0; i < 4; ++i) found[4 * lane() + i] = r[i];
}
extern "C" __global__ void rounding(
    const float* x,  // (32)
    u32* bf16,       // (32) of x, and of -x
    u32* of_tf32) {  // (32)
    bf16[lane()] = bf16_pair(x[lane()], -x[lane()]);
    of_tf32[lane()] = tf32(x[lane()]);
}
extern "C" __global__ void half_a_warp(
    float* c) {  // (1)
    u32 a[4] = {};
    float sums[4] = {};
    if (lane() < 16) mma_bf16(sums, a, 0, 0);
    c[0] = sums[0];
}
"""
HEADERS = [source.flatten(source.SHARED / name) for name in ("minilm_cuda.h", "mma.h")]
TEXT = "\n".join(HEADERS) + '#line 1 "kernel.cu"' + KERNELS


def launch(kernel, *arguments, order="ascending"):
    """One warp; arrays are of the host."""
    loader.launch(loader.compiled(TEXT, ("-DREAL=float",)), kernel, (1,), (32,), arguments, order=order)


def launch_by_cupy(kernel, *arguments):
    """The same on the current device."""
    import cupy

    there = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    cupy.RawModule(code=TEXT, options=("--std=c++17", "-DREAL=float")).get_function(kernel)((1,), (32,), tuple(there))
    for array, result in zip(arguments, there, strict=True):
        if isinstance(array, np.ndarray):
            array[...] = cupy.asnumpy(result)


# As the PTX ISA words it, for element i of a lane's fragment; groupID = lane >> 2, threadID_in_group = lane % 4.
PTX = {
    "bf16": {
        "a": lambda g, t, i: (g if i < 2 or 4 <= i < 6 else g + 8, t * 2 + (i & 1) + (8 if i >= 4 else 0)),
        "b": lambda g, t, i: (t * 2 + (i & 1) + (8 if i >= 2 else 0), g),
        "c": lambda g, t, i: (g if i < 2 else g + 8, t * 2 + (i & 1)),
    },
    "tf32": {
        "a": lambda g, t, i: (g if i in (0, 2) else g + 8, t if i in (0, 1) else t + 4),
        "b": lambda g, t, i: (t if i == 0 else t + 4, g),
        "c": lambda g, t, i: (g if i < 2 else g + 8, t * 2 + (i & 1)),
    },
}
# As CUTLASS has it (cute/atom/mma_traits_sm80.hpp): rows, then sizes and strides of lane and of element, whose sum is a place in
# (16, k), in (8, k) of B's transpose, or in (16, 8), the first index running fastest.
CUTE = {
    "bf16": {
        "a": (16, ((4, 32), (8, 1)), ((2, 16), (2, 8), (2, 128))),
        "b": (8, ((4, 16), (8, 1)), ((2, 8), (2, 64))),
        "c": (16, ((4, 32), (8, 1)), ((2, 16), (2, 8))),
    },
    "tf32": {
        "a": (16, ((4, 16), (8, 1)), ((2, 8), (2, 64))),
        "b": (8, ((4, 8), (8, 1)), ((2, 32),)),
        "c": (16, ((4, 32), (8, 1)), ((2, 16), (2, 8))),
    },
}


def strided(number, modes):
    """Where CuTe's layout puts a number: its digits in the modes' sizes, the first running fastest, times their strides."""
    at = 0
    for size, stride in modes:
        at += number % size * stride
        number //= size
    return at


def by_ptx(precision, operand):
    """(32, elements, 2) rows and columns."""
    elements = {"a": 4, "b": 2, "c": 4}[operand] * (2 if precision == "bf16" and operand != "c" else 1)
    return np.array([[PTX[precision][operand](l >> 2, l % 4, i) for i in range(elements)] for l in range(32)])


def by_cute(precision, operand):
    rows, lanes, elements = CUTE[precision][operand]
    count = int(np.prod([size for size, _ in elements]))
    found = np.array([[divmod(strided(l, lanes) + strided(i, elements), rows)[::-1] for i in range(count)] for l in range(32)])
    return found[..., ::-1] if operand == "b" else found  # CuTe's B is (n, k)


@pytest.mark.parametrize("precision, operand", list(itertools.product(PTX, "abc")))
def test_the_two_descriptions_agree(precision, operand):
    first, second = by_ptx(precision, operand), by_cute(precision, operand)
    assert np.array_equal(first, second)
    assert len({tuple(place) for lane in first for place in lane}) == first[..., 0].size, "every element has one place"


def registers(matrix, places, precision):
    """(32, registers) of a matrix whose numbers the precision holds; bf16 has two in one, the first in the lower half."""
    bits = bits_of(matrix[places[..., 0], places[..., 1]], precision)
    return bits[:, ::2] | bits[:, 1::2] << np.uint32(16) if precision == "bf16" else bits


def check_product(run, precision, described):
    """A product whose operands and result are taken apart and put together as described."""
    depth = 16 if precision == "bf16" else 8
    rng = np.random.default_rng(0)
    A, B = (rounded(rng.standard_normal(shape).astype(np.float32), precision) for shape in ((16, depth), (depth, 8)))
    C = rng.standard_normal((16, 8)).astype(np.float32)
    places = described(precision, "c")
    c = np.ascontiguousarray(C[places[..., 0], places[..., 1]])
    fragments = [np.ascontiguousarray(registers(x, described(precision, n), precision)) for n, x in (("a", A), ("b", B))]
    run("product", *fragments, c, np.int32(precision == "bf16"))
    found = np.empty((16, 8), np.float32)
    found[places[..., 0], places[..., 1]] = c
    np.testing.assert_allclose(found, C + A.astype(np.float64) @ B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("described", [by_ptx, by_cute])
@pytest.mark.parametrize("order", loader.ORDERS)
@pytest.mark.parametrize("precision", PTX)
def test_a_product_through_fragments(precision, order, described):
    check_product(functools.partial(launch, order=order), precision, described)


def test_tf32_reads_no_more_than_ten_bits():
    a = np.full((32, 4), 0x3F801FFF, np.uint32)  # 1 and a bit, all of it beyond
    b, c = np.full((32, 2), 0x3F800000, np.uint32), np.zeros((32, 4), np.float32)
    launch("product", a, b, c, np.int32(0))
    assert (c == 8).all()


def check_loading(run):
    """Lane l gets row l / 4 of matrix m, halves 2 (l % 4) and the next; turned: column l / 4, rows 2 (l % 4) and the next."""
    halves = np.random.default_rng(0).integers(0, 2**16, (4, 8, 8)).astype(np.uint16)  # matrix, row, column
    for turned in (0, 1):
        matrices = halves.transpose(0, 2, 1) if turned else halves
        found = np.zeros((32, 4), np.uint32)
        run("load", np.ascontiguousarray(halves).view(np.uint32).reshape(32, 4), found, np.int32(turned))
        for l, m in itertools.product(range(32), range(4)):
            pair = matrices[m, l // 4, 2 * (l % 4) : 2 * (l % 4) + 2]
            assert np.array_equal(np.ascontiguousarray(found[l, m : m + 1]).view(np.uint16), pair)


def check_rounding(run):
    """Infinities, NaN, numbers below 2**-126, ties and those beside them, and others."""
    special = np.array([0, -0.0, 1, np.inf, -np.inf, np.nan, 3.4e38, 1e-40], np.float32)
    ties = np.array([0x3F808000, 0x3F818000, 0x3F801000, 0x3F803000, 0xBF801000, 0x3F80FFFF, 0x3F800FFF, 0x3F807FFF], np.uint32)
    x = np.concatenate([special, ties.view(np.float32), np.random.default_rng(0).standard_normal(16).astype(np.float32)])
    pairs, tens = np.zeros(32, np.uint32), np.zeros(32, np.uint32)
    run("rounding", x, pairs, tens)
    for found, given, precision in (
        ((pairs << np.uint32(16)).view(np.float32), x, "bf16"),
        ((pairs & np.uint32(0xFFFF0000)).view(np.float32), -x, "bf16"),
        (tens.view(np.float32), x, "tf32"),
    ):
        np.testing.assert_array_equal(found, rounded(given, precision))


def test_loading_matrices_and_rounding():
    check_loading(launch)
    check_rounding(launch)


def test_the_same_by_cupy():
    """As tests/ops/test_on_device.py does it on a GPU."""
    with fake_cupy.installed():
        check_on_device()


def check_on_device():
    """All of it on the current device."""
    for precision in PTX:
        check_product(launch_by_cupy, precision, by_ptx)
    check_loading(launch_by_cupy)
    check_rounding(launch_by_cupy)


def test_half_a_warp_is_told():
    with pytest.raises(loader.LaunchError, match="deadlock|lanes"):
        launch("half_a_warp", np.zeros(1, np.float32))
