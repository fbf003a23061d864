"""Batches: which tokens are in them, how often, and that a step alone says so."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from minilm import data
from minilm.data.batching import IGNORE

# B, T, spare tokens, seed
SIZES = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(0, 200), st.integers(0, 2**64 - 1))


def stream(count, start=0, dtype=np.uint16):
    """Tokens that are their own places, so that a target says where it came from."""
    return np.arange(start, start + count, dtype=dtype)  # (N,)


def targets_of(batches):
    """All targets that count, in the order read; checks that each is one place on from its input."""
    seen = []
    for ids, targets in batches:
        assert ids.dtype == targets.dtype == np.int64 and ids.flags.c_contiguous and targets.flags.c_contiguous
        counts = targets != IGNORE
        assert counts.any()
        np.testing.assert_array_equal(targets[counts], ids[counts] + 1)
        seen.append(targets[counts])
    return np.concatenate(seen)


@hypothesis.given(SIZES)
def test_contiguous_epoch_has_every_target_once(sizes):
    B, T, spare, _ = sizes
    tokens = stream(B * T + 1 + spare)
    batches = data.ContiguousBatches(tokens, B, T)
    epoch = [batches.batch(step) for step in range(batches.epoch_steps)]
    assert all(ids.shape == targets.shape == (B, T) for ids, targets in epoch)
    assert sorted(targets_of(epoch)) == list(range(1, tokens.size))


@hypothesis.given(SIZES, st.integers(1, 5))
def test_seeded_epochs_leave_out_only_their_offset(sizes, epoch):
    B, T, spare, seed = sizes
    tokens = stream(B * T + 1 + spare)
    batches = data.ContiguousBatches(tokens, B, T, seed)
    assert batches.offset(0) == 0 and 0 <= batches.offset(epoch) < T
    steps = range(epoch * batches.epoch_steps, (epoch + 1) * batches.epoch_steps)
    assert [batches.fresh(step) for step in steps] == [True] + [False] * (batches.epoch_steps - 1)
    assert sorted(targets_of(map(batches.batch, steps))) == list(range(1 + batches.offset(epoch), tokens.size))


def test_seeded_epochs_differ():
    batches = data.ContiguousBatches(stream(1000), 3, 10, seed=5)
    assert len({batches.offset(epoch) for epoch in range(1, 30)}) > 5


@hypothesis.given(SIZES)
def test_rows_go_on_where_they_stood(sizes):
    B, T, spare, seed = sizes
    batches = data.ContiguousBatches(stream(B * T + 1 + spare), B, T, seed)
    for step in range(2 * batches.epoch_steps):
        if batches.fresh(step):
            continue
        before, (ids, targets) = batches.batch(step - 1)[1], batches.batch(step)  # (B, T)
        goes_on = targets[:, 0] != IGNORE
        np.testing.assert_array_equal(ids[goes_on, 0], before[goes_on, -1])


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(SIZES)
def test_rows_begin_anew_in_turn(sizes):
    """Once in 4 windows at first, each row, and half as often whenever training is twice as long, down to once in 64."""
    B, T, _, seed = sizes
    batches = data.ContiguousBatches(stream(B * T * 1500 + 1), B, T, seed)
    assert batches.epoch_steps == 1500
    fresh = np.array([batches.fresh_rows(step) for step in range(1500)])  # (S, B)
    assert fresh.shape == (1500, B) and fresh[0].all()
    for first, last, period in ((1, 128, 4), (128, 256, 8), (256, 512, 16), (512, 1024, 32), (1024, 1500, 64)):
        for row in fresh[first:last].T:
            places = np.flatnonzero(row)
            assert places[0] < period and set(np.diff(places).tolist()) <= {period} and last - first - places[-1] <= period
    assert [batches.fresh_rows(1500).all(), batches.fresh(1500), batches.fresh(1501)] == [True, True, False]
    assert data.RandomBatches(stream(100), B, T, seed).fresh_rows(3).tolist() == [True] * B


@hypothesis.given(SIZES, st.booleans())
def test_evaluation_has_every_target_once(sizes, carried):
    B, T, spare, _ = sizes
    tokens = stream(2 + spare)
    batches = data.EvaluationBatches(tokens, B, T, carried)
    read = list(batches)
    assert len(read) == len(batches)
    seen = targets_of(read)
    assert sorted(seen) == list(range(1, tokens.size)) and batches.total_targets == seen.size
    if not carried:
        np.testing.assert_array_equal(seen, np.arange(1, tokens.size))
        assert all(batches.fresh(step) for step in range(len(batches)))
    else:
        assert [batches.fresh(step) for step in range(len(batches))] == [True] + [False] * (len(batches) - 1)


def test_random_windows_are_everywhere_equally_likely():
    T, places = 4, 6
    batches = data.RandomBatches(stream(T + places), 60, T, seed=3)
    starts = np.concatenate([batches.batch(step)[0][:, 0] for step in range(200)])  # (12000,)
    counts = np.bincount(starts, minlength=places)  # (6,)
    assert counts.size == places
    chi_squared = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_squared < 20.5  # 5 degrees of freedom: 1 in 1,000
    targets_of(itertools.islice(batches, 3))


@pytest.mark.parametrize("carried", [False, True])
def test_a_step_says_all(carried):
    """Whatever was drawn before, and in another object: the same batch; another seed: another one."""
    tokens = stream(5000)
    first, second = (data.batches(tokens, 5, 12, seed=2**63 + 1, carried=carried) for _ in range(2))
    read = list(itertools.islice(first, 200))
    for step in (199, 0, 77, 150):
        for one, other in zip(read[step], second.batch(step), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(read[123:], second.iterate(123), strict=False):
        np.testing.assert_array_equal(one[0], other[0])
    another = data.batches(tokens, 5, 12, seed=2, carried=carried)
    assert any((another.batch(step)[0] != read[step][0]).any() for step in range(200))


def test_the_random_stream_is_the_one_of_always():
    """A resumed run, on another version of NumPy too, must get the windows that it would have got."""
    batches = data.batches(stream(1000), 4, 10, seed=7)
    assert batches.batch(3)[0][:, 0].tolist() == [477, 716, 49, 312]
    rows = data.batches(stream(1000), 4, 10, seed=7, carried=True)
    assert [rows.offset(epoch) for epoch in range(4)] == [0, 8, 3, 4]


@pytest.mark.parametrize("carried", [False, True])
def test_validation_text_is_in_no_training_batch(tmp_path, carried):
    from minilm import tokenizers

    path = tmp_path / "text.txt"
    path.write_text("ab" * 450 + "cd" * 50, encoding="utf-8")
    text = data.text(path)
    train, validation = text.split(0.1)
    tokenizer = tokenizers.Character("abcd")
    tokens = data.tokens(train, tokenizer)
    assert tokens.size == 900 and data.tokens(validation, tokenizer).size == 100
    batches = data.batches(tokens, 3, 7, carried=carried)
    for ids, targets in itertools.islice(batches, 3 * batches.epoch_steps):
        assert ids.max() < 2 and targets.max() < 2


def test_batches_may_be_written():
    """A batch is its reader's own: writing into it changes neither the tokens nor the next batch."""
    tokens = stream(50)
    batches = data.batches(tokens, 2, 5)
    first = batches.batch(0)[0].copy()
    batches.batch(0)[0][:] = 0
    np.testing.assert_array_equal(batches.batch(0)[0], first)
    np.testing.assert_array_equal(tokens, stream(50))


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        (data.RandomBatches, 8, "the text has 8 tokens; a window of time=8 needs at least 9"),
        (data.ContiguousBatches, 24, "the text has 24 tokens; one window in each of batch=3 rows of time=8 needs at least 25"),
        (data.EvaluationBatches, 1, "the text has 1 tokens; a target to evaluate needs at least 2"),
    ],
)
def test_short_text(kind, count, message):
    with pytest.raises(ValueError, match=message):
        kind(stream(count), 3, 8)
    kind(stream(count + 1), 3, 8).batch(0)


def test_wrong_arguments():
    tokens = stream(100)
    for wrong in (tokens.astype(np.float32), tokens.reshape(10, 10), np.ones(100, bool), "text"):
        with pytest.raises(TypeError, match="tokens must be one axis of integers"):
            data.batches(wrong, 2, 5)
    for name, value in (("batch", 0), ("time", -1), ("batch", True)):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got {value}"):
            data.batches(tokens, **{"batch": 2, "time": 5, name: value})
    with pytest.raises(TypeError, match="time must be a whole number, got 5.0"):
        data.batches(tokens, 2, 5.0)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed"):
            data.batches(tokens, 2, 5, seed)
    for batches in (data.batches(tokens, 2, 5), data.batches(tokens, 2, 5, carried=True)):
        with pytest.raises(ValueError, match="step"):
            batches.batch(-1)
    with pytest.raises(IndexError, match="step must lie in"):
        data.EvaluationBatches(tokens, 2, 5).batch(10)
