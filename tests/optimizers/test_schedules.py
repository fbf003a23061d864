"""Learning rates over the course of training."""

import math

import pytest

from minilm.optimizers import schedules


def test_constant():
    schedule = schedules.Constant(0.3)
    assert schedule(0.0) == schedule(1.0, epoch=7) == 0.3


def test_warmup_cosine():
    schedule = schedules.WarmupCosine(2.0, warmup=0.2, final=0.4)
    assert schedule(0) == 0 and schedule(0.1) == pytest.approx(1.0) and schedule(0.2) == pytest.approx(2.0)
    assert schedule(0.6) == pytest.approx(1.2)  # half way down
    assert schedule(0.4) == pytest.approx(0.4 + 1.6 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule(1) == pytest.approx(0.4) == schedule(1.5)
    assert schedules.WarmupCosine(2.0)(0) == 2.0


def test_epoch_decay_is_zarembas():
    schedule = schedules.EpochDecay(1.0, after=4, factor=2)
    assert [schedule(0.5, epoch=epoch) for epoch in (0, 3, 3.9, 4, 5, 6.5)] == [1, 1, 1, 0.5, 0.25, 0.125]


def test_plateau_decay():
    schedule = schedules.PlateauDecay(8.0, factor=4, patience=2, threshold=0.1)
    seen = []
    for loss in (3.0, 2.0, 1.95, 1.8, 1.9, 1.85, 1.8, float("nan"), 1.0):
        schedule.observe(loss)
        seen.append(schedule(0.5))
    # 1.95 is no fall by 0.1, 1.8 is; 1.9 and 1.85 are none, so the rate is divided; 1.8 and NaN are none, again
    assert seen == [8, 8, 8, 8, 8, 2, 2, 0.5, 0.5]
    other = schedules.PlateauDecay(8.0, factor=4, patience=2, threshold=0.1)
    other.load_state_dict(schedule.state_dict())
    for loss in (1.0, 0.99):
        assert other.observe(loss) == schedule.observe(loss)
        assert other(0.5) == schedule(0.5)
    assert other(0.5) == 0.125
    with pytest.raises(ValueError, match="best"):
        other.load_state_dict({"best": 1.0})


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.Constant(-1),
        lambda: schedules.WarmupCosine(1.0, warmup=1.0),
        lambda: schedules.EpochDecay(1.0, after=3, factor=0.5),
        lambda: schedules.PlateauDecay(1.0, factor=1),
        lambda: schedules.PlateauDecay(1.0, patience=0),
        lambda: schedules.Constant(1.0).load_state_dict({"best": 1}),
    ],
)
def test_wrong_settings(make):
    with pytest.raises(ValueError):
        make()
