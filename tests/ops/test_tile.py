"""The register tile and the products on it: against NumPy in float64, at sizes that fill tiles and panels, and others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilm
from minilm import devices, ops
from minilm.ops import product as products
from minilm.ops import tile

DTYPES = (np.float32, np.float64)
SIZES = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 129, 150])


def numbers(*shape, dtype, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def close(found, wanted, K):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 4 * (K + 2) * np.finfo(found.dtype).eps * np.abs(wanted).max(initial=1)


def walled(M, N, dtype):
    """An array to write (M, N) inside a larger one of NaN, and the larger one."""
    around = np.full((M + 2) * N, np.nan, dtype)
    return around[N : N + M * N].reshape(M, N), around


@pytest.mark.parametrize("dtype", DTYPES)
@given(M=SIZES, N=SIZES, K=SIZES, transposed=st.booleans())
def test_product(dtype, M, N, K, transposed):
    a, W = numbers(M, K, dtype=dtype), numbers(*((N, K) if transposed else (K, N)), dtype=dtype, seed=1)
    out, around = walled(M, N, dtype)
    with minilm.Workspace(poison=True):
        products.product(a, W, out, transposed=transposed)
    close(out, a.astype(np.float64) @ (W.T if transposed else W).astype(np.float64), K)
    assert np.isnan(around[:N]).all() and np.isnan(around[-N:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(M=SIZES, N=SIZES, K=SIZES | st.just(2 * products.DEPTH + 1), strided=st.booleans())
def test_transposed_product(dtype, M, N, K, strided):
    a, b = numbers(K, M + 3, dtype=dtype), numbers(K, N, dtype=dtype, seed=1)
    a = a[:, 1 : M + 1] if strided else np.ascontiguousarray(a[:, 1 : M + 1])
    out, around = walled(M, N, dtype)
    products.transposed_product(a, b, out)
    close(out, a.T.astype(np.float64) @ b.astype(np.float64), K)
    assert np.isnan(around[:N]).all() and np.isnan(around[-N:]).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("M", "widths", "K"), [(200, (70, 130), 600), (5, (0, 40), 3), (9, (33, 1), 1), (4, (2, 3), 0)])
def test_transposed_products_are_each_what_it_is_alone(threads, M, widths, K):
    """Their panels are counted through, so parts of threads begin and end within one of them; one may be empty."""
    devices.set_threads(threads)
    a = numbers(K, M, dtype=np.float32)
    bs = tuple(numbers(K, N, dtype=np.float32, seed=1 + i) for i, N in enumerate(widths))
    outs, alone = (tuple(np.full((M, N), np.nan, np.float32) for N in widths) for _ in range(2))
    products.transposed_products(a, bs, outs)
    for b, out, one in zip(bs, outs, alone, strict=True):
        products.transposed_product(a, b, one)
        assert np.array_equal(out, one)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_more_than_the_caches_hold(dtype, threads):
    """Several chunks of rows and several depths; parts of threads begin and end within a chunk."""
    devices.set_threads(threads)
    M, K, N = products.CHUNK + tile.ROWS + 1, products.DEPTH + 3, 5 * tile.width_of(dtype) + 1
    a, W, b = numbers(M, K, dtype=dtype), numbers(N, K, dtype=dtype, seed=1), numbers(M, N, dtype=dtype, seed=2)
    for transposed in (True, False):
        out, around = walled(M, N, dtype)
        products.product(a, W if transposed else np.ascontiguousarray(W.T), out, transposed=transposed)
        close(out, a.astype(np.float64) @ W.T.astype(np.float64), K)
        assert np.isnan(around[:N]).all() and np.isnan(around[-N:]).all()
    out = np.empty((N, K), dtype)
    products.transposed_product(b, a, out)
    close(out, b.T.astype(np.float64) @ a.astype(np.float64), M)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_when_panels_are_packed(dtype, threads, monkeypatch):
    """For each chunk of rows, or once for all of them; aᵀ b then by several parts of its rows k, as HELD allows."""
    devices.set_threads(threads)
    M, K, N = 2 * products.DEPTH + 5, tile.ROWS * 11 + 1, 3 * tile.width_of(dtype) + 1
    a, W, b = numbers(M, K, dtype=dtype), numbers(N, K, dtype=dtype, seed=1), numbers(M, N, dtype=dtype, seed=2)
    bias, row_bytes = numbers(N, dtype=dtype, seed=3), products.DEPTH * (N + K) * a.itemsize  # of DEPTH rows of b and a
    results = []
    for many, held in ((10**6, 10**9), (0, 10**9), (0, 2 * row_bytes), (0, row_bytes)):
        monkeypatch.setattr(products, "MANY", many)
        monkeypatch.setattr(products, "HELD", held)
        outs = [np.full(shape, np.nan, dtype) for shape in ((M, N), (M, N), (K, N), (K, K))]
        with minilm.Workspace(poison=True):
            products.product(a, W, outs[0], transposed=True, bias=bias)
            products.product(a, np.ascontiguousarray(W.T), outs[1], transposed=False)
            products.transposed_products(a, (b, a), tuple(outs[2:]))
        results.append(b"".join(out.tobytes() for out in outs))
    assert len(set(results)) == 1
    close(outs[1], a.astype(np.float64) @ W.T.astype(np.float64), K)
    close(outs[2], a.T.astype(np.float64) @ b.astype(np.float64), M)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_the_same_beside_any_others(dtype):
    """So bits do not depend on how rows are shared among threads, nor on the tile that computed them."""
    a, W = numbers(50, 40, dtype=dtype), numbers(70, 40, dtype=dtype, seed=1)
    whole = np.empty((50, 70), dtype)
    products.product(a, W, whole, transposed=True)
    for first, last in ((0, 1), (3, 8), (7, 20), (49, 50)):
        part = np.empty((last - first, 70), dtype)
        products.product(a[first:last], W, part, transposed=True)
        assert np.array_equal(part, whole[first:last])


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_threads(dtype):
    a, W, b = numbers(300, 80, dtype=dtype), numbers(80, 90, dtype=dtype, seed=1), numbers(300, 90, dtype=dtype, seed=2)
    results = []
    for count in (1, 2, 3):
        devices.set_threads(count)
        plain, transposed = np.empty((300, 90), dtype), np.empty((80, 90), dtype)
        products.product(a, W, plain, transposed=False)
        products.transposed_product(a, b, transposed)
        results.append((plain.tobytes(), transposed.tobytes()))
    assert len(set(results)) == 1


def test_nothing_to_sum_is_zero():
    out = np.full((3, 40), np.nan, np.float32)
    products.product(np.empty((3, 0), np.float32), np.empty((40, 0), np.float32), out, transposed=True)
    assert not out.any()
    out.fill(np.nan)
    products.transposed_product(np.empty((0, 3), np.float32), np.empty((0, 40), np.float32), out)
    assert not out.any()


def test_multiply_adds_to_what_is_there():
    a, W, c = numbers(5, 6, dtype=np.float64), numbers(6, 40, dtype=np.float64, seed=1), numbers(5, 40, dtype=np.float64, seed=2)
    wanted = c + a @ W
    wanted[:2], wanted[4:] = c[:2], c[4:]  # rows outside [first, last) stay
    tile.multiply(2, 4, a, products.packed([W], False)[0], c, True)
    assert np.allclose(c, wanted, rtol=1e-14)


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, K", [(50, 300), (100, 33), (7, 5), (1, 1), (64, 128)])
def test_bits_of_a_row_are_its_own(N, K, dtype, transposed, monkeypatch):
    """Whatever rows stand beside it, whatever threads there are, and whatever BLAS: none is asked."""
    monkeypatch.setattr(np, "matmul", None)
    a, W = numbers(200, K, dtype=dtype), numbers(*((N, K) if transposed else (K, N)), dtype=dtype, seed=1)
    whole = np.empty((200, N), dtype)
    products.product(a, W, whole, transposed=transposed)
    for threads in (1, 3):
        devices.set_threads(threads)
        for first, rows in ((0, 1), (0, 2), (5, 3), (1, 8), (0, 9), (100, 31), (7, 63), (7, 64), (70, 130)):
            out = np.empty((rows, N), dtype)
            products.product(a[first : first + rows], W, out, transposed=transposed)
            assert np.array_equal(out, whole[first : first + rows]), (threads, first, rows)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_cells_and_affine_maps_ask_no_blas(cell, monkeypatch):
    """So a run that is gone on with on another number of cores, or with another BLAS, has the same bits."""
    op = getattr(ops, cell)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cell]
    B, D, H = 5, 7, 9
    x, h = numbers(B, D, dtype=np.float32), numbers(B, H, dtype=np.float32, seed=2)
    weights = [numbers(gates * H, D, dtype=np.float32, seed=3), numbers(gates * H, H, dtype=np.float32, seed=4)]
    weights += [numbers(gates * H, dtype=np.float32, seed=5)] * 2
    states = (h, h) if cell == "lstm" else (h,)
    monkeypatch.setattr(np, "matmul", None)
    y, saved = op.cell_forward(x, *states, *weights)
    op.cell_backward(y, saved)
    for rows in (1, 2, 5, 70):
        x = numbers(rows, D, dtype=np.float32)
        y, saved = ops.linear.forward(x, weights[0], weights[2])
        ops.linear.backward(y, saved)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M, N, K", [(1, 33, 20), (40, 33, 700), (3, 64, 0), (0, 5, 3)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_bias_is_added_to_every_row(M, N, K, dtype, transposed):
    a, W, bias = numbers(M, K, dtype=dtype), numbers(*((N, K) if transposed else (K, N)), dtype=dtype), numbers(N, dtype=dtype)
    plain, biased = (np.full((M, N), np.nan, dtype) for _ in range(2))
    products.product(a, W, plain, transposed=transposed)
    products.product(a, W, biased, transposed=transposed, bias=bias)
    assert np.array_equal(biased, plain + bias)
