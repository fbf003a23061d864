"""One row by a matrix: the same bits as in a product of many rows, whatever the shape, and however the matrix is fetched."""

import numpy as np
import pytest

from minilm.ops import row
from minilm.ops.product import product


@pytest.mark.parametrize("N, K", [(5, 7), (40, 5), (3, 600), (16, 16), (33, 250), (50, 576), (70, 1040)])
def test_the_bits_of_a_row_among_others(N, K):
    rng = np.random.default_rng(N + K)
    a, W = rng.standard_normal((2, K), np.float32), rng.standard_normal((N, K), np.float32)
    expected = np.empty((2, N), np.float32)
    product(a, W, expected, transposed=True)
    strips = -(-N // row.LANES32)
    for kernel in (row.multiply_transposed, row._multiply_kept, row.multiply_streamed):
        out = np.full(N, np.nan, np.float32)
        for start, stop in ((0, strips // 2), (strips // 2, strips)):  # as two threads share them out
            kernel(start, stop, a[0], W, out)
        assert np.array_equal(out, expected[0])
