"""Medians, quartiles, ratios within rounds, and who takes part in how many."""

import time

import pytest

from benchmarks.timing import Contestant, Spread, interleave, speed_ratio, spread


def test_spread_is_median_and_quartiles():
    assert spread([5, 1, 4, 2, 3]) == Spread(3, 2, 4)
    assert spread([7.5]) == Spread(7.5, 7.5, 7.5)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratio_is_taken_within_rounds():
    # the machine slows down tenfold half-way, for both: the ratio must not notice
    one = Contestant("one", lambda: None, seconds=[1.0, 1.0, 10.0, 10.0])
    other = Contestant("other", lambda: None, seconds=[3.0, 3.0, 30.0, 30.0])
    assert speed_ratio(one, other) == Spread(3.0, 3.0, 3.0)
    assert speed_ratio(other, one).median == pytest.approx(1 / 3)


def test_a_contestant_that_sat_out_is_compared_in_its_rounds_only():
    one = Contestant("one", lambda: None, seconds=[1.0, 1.0, 1.0, 50.0])
    assert speed_ratio(one, Contestant("other", lambda: None, seconds=[2.0, 2.0])).median == 2.0


def test_contestants_take_turns():
    order = []
    contestants = [Contestant(name, lambda name=name: order.append(name)) for name in "AB"]
    interleave(contestants, seconds=0.001, least=4, most=4, quick=True)
    changes = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert changes == list("AB" * (len(changes) // 2)) and len(changes) >= 8
    assert [len(contestant.seconds) for contestant in contestants] == [4, 4]


def test_the_slower_one_measures_slower():
    fast, slow = Contestant("fast", lambda: time.sleep(0.001)), Contestant("slow", lambda: time.sleep(0.004))
    interleave([fast, slow], seconds=1.0, least=3, most=5, quick=True)
    assert speed_ratio(fast, slow).median > 1.5


def test_a_very_slow_contestant_sits_out_after_three_rounds():
    fast, slow = Contestant("fast", lambda: None), Contestant("slow", lambda: time.sleep(0.02))
    interleave([fast, slow], seconds=0.1, least=6, most=6, quick=True)
    assert (len(fast.seconds), len(slow.seconds)) == (6, 3)
