"""A text that grows, at sizes that a test can wait for: `python -m tests.data.large` takes larger ones."""

import sys

import pytest

from tests.data import large

MOST = 500e6  # bytes resident, whatever the text


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_and_the_cost_of_a_token_do_not_grow_with_the_text(tmp_path):
    small, big = (
        {each.work: each for each in large.costs(size, str(tmp_path / str(size)))} for size in (20_000_000, 200_000_000)
    )
    for work, cost in big.items():
        print(f"{small[work]}\n{cost}")
        assert cost.resident < MOST and cost.workers < MOST
        assert cost.resident < small[work].resident + 50e6
        assert cost.processor / cost.tokens < 1.5 * small[work].processor / small[work].tokens
