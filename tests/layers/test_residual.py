"""Sums of two arrays, large enough for several threads, into a third array or into one of the two."""

import numpy as np
import pytest

from minilm import devices
from minilm.layers.residual import GRAIN, added


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [3, 2 * GRAIN, 5 * GRAIN + 7])
def test_the_same_numbers_as_numpys(size, dtype):
    devices.set_threads(2)
    x, y = np.random.default_rng(0).standard_normal((2, 1, size)).astype(dtype)
    expected = x + y
    assert np.array_equal(added(x, y, out=np.empty_like(x)), expected)
    for place in (0, 1):
        inputs = [x.copy(), y.copy()]
        assert added(*inputs, out=inputs[place]) is inputs[place]
        assert np.array_equal(inputs[place], expected)
        assert np.array_equal(inputs[1 - place], (x, y)[1 - place])
