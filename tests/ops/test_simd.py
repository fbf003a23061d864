"""The functions for use inside kernels: accuracy over the whole range, edges, NaN, and that loops of them are vectorised."""

import math
import re

import numba
import numpy as np
import pytest

from minilm.compiled.jit import CONTRACT, REASSOC, jit
from minilm.ops import simd

NAMES = ("exp", "sigmoid", "tanh", "normal_cdf")
EXACT = {
    "exp": math.exp,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": math.tanh,
    "normal_cdf": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
}
ERROR = {"exp": 1.6e-7, "sigmoid": 2.1e-7, "tanh": 4e-7, "normal_cdf": 5e-7}  # what the table of simd.py promises
LOWEST = {"exp": -87, "sigmoid": -87, "tanh": -30, "normal_cdf": -4}  # below, results or steps on the way are denormal or exp's
HIGHEST = {"exp": 88, "sigmoid": 100, "tanh": 30, "normal_cdf": 30}


@jit
def exp(x, y):
    for i in range(len(x)):
        y[i] = simd.exp(x[i])


@jit
def sigmoid(x, y):
    for i in range(len(x)):
        y[i] = simd.sigmoid(x[i])


@jit
def tanh(x, y):
    for i in range(len(x)):
        y[i] = simd.tanh(x[i])


@jit
def normal_cdf(x, y):
    for i in range(len(x)):
        y[i] = simd.normal_cdf(x[i])


@jit(fastmath=REASSOC)
def largest(x, y):
    y[0] = simd.largest(x)


KERNELS = {"exp": exp, "sigmoid": sigmoid, "tanh": tanh, "normal_cdf": normal_cdf, "largest": largest}


def apply(name, x):
    y = np.empty_like(x)
    KERNELS[name](x, y)
    return y


@pytest.mark.parametrize("name", NAMES)
def test_float32_accuracy(name):
    rng = np.random.default_rng(0)
    low, high = LOWEST[name], HIGHEST[name]
    x = np.concatenate([rng.uniform(low, high, 50_000), rng.standard_normal(50_000), 1e-3 * rng.standard_normal(1000)])
    x = np.clip(x, low, high).astype(np.float32)
    exact = np.array([EXACT[name](float(v)) for v in x])
    relative = np.abs(apply(name, x) - exact) / np.abs(exact)
    assert relative.max() <= ERROR[name], x[relative.argmax()]


def test_normal_cdf_keeps_its_digits_in_the_tail():
    """Where 1 + erf(x) would have none left; the error grows with the rounding of x², no faster."""
    x = np.linspace(-13, -4, 5000).astype(np.float32)
    exact = np.array([EXACT["normal_cdf"](float(v)) for v in x])
    relative = np.abs(apply("normal_cdf", x) - exact) / exact
    assert (relative <= 5e-7 + x.astype(float) ** 2 * 1.2e-7).all()


@pytest.mark.parametrize("name", NAMES)
def test_float64_accuracy(name):
    x = np.linspace(LOWEST[name], HIGHEST[name], 10_001)
    exact = np.array([EXACT[name](v) for v in x])
    assert np.abs(apply(name, x) / np.where(exact == 0, 1, exact) - (exact != 0)).max() <= 1e-14


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_edges(name, dtype):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38], dtype)
    if name == "exp" and dtype == np.float64:
        x = x[:6]  # the C library's exp raises a flag there, Python's an exception
    y = apply(name, x)
    top, bottom, middle = {
        "exp": (np.inf, 0, 1),
        "sigmoid": (1, 0, 0.5),
        "tanh": (1, -1, 0),
        "normal_cdf": (1, 0, 0.5),
    }[name]
    assert np.isnan(y[:2]).all()
    assert y[2] == top and y[3] == bottom
    assert np.abs(y[4:6] - middle).max() <= 1e-7
    if len(y) > 6:
        assert y[6] == top and y[7] == bottom


def test_exp_overflows_and_vanishes_where_it_should():
    x = np.array([88.7, 88.73, 89.5, 1e4, -87.4, -103.0, -104.5, -1e4], np.float32)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.exp(x.astype(np.float64)).astype(np.float32)
    y = apply("exp", x)
    assert np.array_equal(np.isinf(y), np.isinf(exact))
    assert np.array_equal(y == 0, exact == 0)
    finite = np.isfinite(exact)
    assert np.abs(y[finite].astype(float) - exact[finite]).max() <= 1e-6 * exact[finite].max()
    assert abs(float(y[5]) - float(exact[5])) <= 1.5e-45  # a denormal


@pytest.mark.parametrize("name", NAMES)
def test_monotone_where_branches_meet(name):
    """Ends of polynomials and of exponents do not jump back by more than rounding."""
    x = np.linspace(-8, 8, 200_001).astype(np.float32)
    y = apply(name, x).astype(np.float64)
    assert np.diff(y).min() >= -4e-7 * np.abs(y[1:]).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_largest(dtype):
    rng = np.random.default_rng(0)
    for size in (1, 2, 15, 16, 17, 1000):
        for scale in (1, -1, 1e30, 1e-40):
            x = (scale * np.abs(rng.standard_normal(size))).astype(dtype)
            assert apply("largest", x)[0] == x.max()
            x = (scale * rng.standard_normal(size)).astype(dtype)
            assert apply("largest", x)[0] == x.max()
    for row in ([-np.inf, -np.inf], [np.inf, 1], [-np.inf, -5], [0.0, -0.0], [-0.0, -1]):
        assert apply("largest", np.array(row, dtype))[0] == max(row)
    for row in ([1, np.nan, 3], [1, -np.nan, 3], [np.nan, np.nan]):
        found = apply("largest", np.array(row, dtype))[0]
        assert np.isnan(found) or found == 3


def test_the_plain_functions_are_the_same():
    """Outside of kernels they work on Python's numbers."""
    for name in NAMES:
        for x in (-3.0, -0.1, 0.0, 0.7, 5.0):
            assert math.isclose(getattr(simd, name)(x), EXACT[name](x), rel_tol=1e-14, abs_tol=1e-16)
    assert simd.largest(np.array([1.0, 3.0, 2.0])) == 3


@pytest.mark.parametrize("name", [*NAMES, "largest"])
def test_loops_are_vectorised(name):
    """A loop around a call would be eight times slower: the machine code must have vector arithmetic and no call of exp."""
    flags = REASSOC if name == "largest" else CONTRACT
    fresh = numba.njit(fastmath=set(flags), error_model="numpy")(KERNELS[name].py_func)  # code from a cache cannot be read
    x = np.ones(8, np.float32)
    fresh(x, x.copy())
    (code,) = fresh.inspect_llvm().values()
    kind = "i32" if name == "largest" else "float"
    assert re.search(rf"<\d+ x {kind}>", code)
    assert not re.search(r"call .*@(expf|tanhf|erff|erfcf)\b", code)
