"""The largest number of a row: NumPy's argmax, wherever blocks begin and end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm.ops.largest import BLOCK, largest_of

NUMBERS = st.sampled_from([-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan])


@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=12),
    places=st.lists(st.integers(0, 3 * BLOCK), min_size=12, max_size=12),
    first=st.integers(0, BLOCK + 1),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_it_is_argmax(numbers, places, first, dtype):
    row = np.full(3 * BLOCK + 1, -2, dtype)
    row[places[: len(numbers)]] = numbers
    for last in (first + 1, 2 * BLOCK, len(row)):
        assert largest_of(row, first, last) == first + row[first:last].argmax()


@pytest.mark.parametrize("place", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK + 1])
def test_the_first_of_equals_wins(place):
    row = np.zeros(2 * BLOCK + 2, np.float32)
    row[place:] = 1
    assert largest_of(row, 0, len(row)) == place


def test_of_none_there_is_none():
    assert largest_of(np.zeros(3, np.float32), 2, 2) == -1
