"""Products of two arrays of which neither is a weight, beside NumPy's; and gradients of tables that a batch reads few rows of."""

import numpy as np
import pytest

import minilm
from minilm import devices, layers
from minilm.layers.products import multiplied
from minilm.ops import bfloat16, embedding, precision


def drawn(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "batch, M, K, N", [((), 1, 1, 1), ((3,), 130, 70, 35), ((2, 5), 1, 33, 40), ((), 300, 3, 65), ((2,), 4, 0, 5)]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_the_numbers_of_numpy(batch, M, K, N, dtype, transposed):
    a, b = drawn(*batch, M, K, dtype=dtype), drawn(*batch, K, N, dtype=dtype, seed=1)
    y = multiplied(a, b.swapaxes(-1, -2).copy() if transposed else b, transposed=transposed)
    assert y.dtype == dtype and y.shape == (*batch, M, N)
    bound = 4 * (K + 2) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))
    assert (np.abs(y - a.astype(np.float64) @ b) <= bound).all()


def test_views_and_threads_and_precision_change_no_bit(monkeypatch):
    a, b = drawn(4, 200, 60), drawn(4, 60, 90, seed=1)
    devices.set_threads(1)
    y = multiplied(a, b)
    devices.set_threads(2)
    monkeypatch.setattr(bfloat16, "product", None)
    with minilm.precision(precision.fastest("cpu")):
        assert np.array_equal(multiplied(a, b), y)
    assert np.array_equal(multiplied(a.swapaxes(1, 2).copy().swapaxes(1, 2), b[:, :, ::-1][:, :, ::-1]), y)
    with minilm.implementation("oracle"):
        assert np.allclose(multiplied(a, b), y, atol=1e-4)


@pytest.mark.parametrize("padding_idx", [None, 3, 60])
def test_few_rows_of_a_large_table_get_the_same_bits(padding_idx, monkeypatch):
    ids = np.random.default_rng(0).choice(50, (4, 9)) % 17  # (B, T)
    dy = drawn(4, 9, 6)
    table = layers.Embedding(100, 6, padding_idx, seed=0)
    whole = embedding.backward(dy, table.forward(ids)[1])  # (V, D)
    shapes, real = [], embedding.backward
    monkeypatch.setattr(embedding, "backward", lambda *args: shapes.append(args[1].shape) or real(*args))
    for count in (1, 2):
        table.backward(dy, table.forward(ids)[1])
        assert np.array_equal(table.weight.gradient, whole if count == 1 else whole + whole)
    assert shapes == [(len(np.unique(ids)), 6)] * 2
