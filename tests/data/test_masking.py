"""Masked pairs of segments: what is masked, how often, and that all of it follows from seed and step."""

import numpy as np
import pytest

from minilm import data, tokenizers

SPECIAL = data.MaskingIds(vocab_size=100, cls=2, sep=3, mask=4, pad=0, special=(0, 1, 2, 3, 4))
TOKENS = np.random.default_rng(0).integers(5, 100, 4000)
B, T = 16, 40


def batches(seed=1, tokens=TOKENS, time=T):
    return data.PretrainingBatches(tokens, B, time, SPECIAL, seed)


def true(ids, targets):
    return np.where(targets == -100, ids, targets)


def test_the_layout_of_a_row():
    shorter = 0
    for step in range(20):
        ids, targets, types, mask, _ = batches().batch(step)
        whole = true(ids, targets)
        assert ids.shape == targets.shape == types.shape == mask.shape == (B, T) and ids.dtype == np.int64
        for row, kinds, seen in zip(whole, types, mask, strict=True):
            length = int(seen.sum())
            shorter += length < T
            assert seen[:length].all() and not row[length:].any() and not kinds[length:].any()
            first, last = np.flatnonzero(row[:length] == 3)
            assert row[0] == 2 and last == length - 1 and 1 < first < last - 1
            assert np.array_equal(kinds[:length], np.arange(length) > first)
            assert (row[1:first] > 4).all() and (row[first + 1 : last] > 4).all()
    assert 10 < shorter < 60  # a tenth of 320


def test_the_second_segment_follows_the_first_or_does_not():
    where = {tuple(TOKENS[i : i + 3]): i for i in range(len(TOKENS) - 3)}
    labels, agreed = [], 0
    for step in range(30):
        ids, targets, _, mask, follows = batches().batch(step)
        for row, seen, label in zip(true(ids, targets), mask, follows, strict=True):
            first, last = np.flatnonzero(row[: seen.sum()] == 3)
            if first < 4 or last - first < 4:
                continue
            next_of_first = where[tuple(row[1:4])] + first - 1
            agreed += (where[tuple(row[first + 1 : first + 4])] == next_of_first) == (label == 0)
            labels.append(label)
    assert agreed == len(labels) > 300 and 0.4 < np.mean(labels) < 0.6


@pytest.mark.parametrize("longer", [1, 2, 3, 12])
def test_a_second_segment_from_elsewhere_is_never_the_one_that_follows(longer):
    """In a text hardly longer than a row, where a random place is often that one; ids tell where each token stands."""
    tokens = 5 + np.arange(T + longer)
    special = SPECIAL._replace(vocab_size=5 + len(tokens))
    follows = [0, 0]
    for step in range(40):
        ids, targets, _, mask, labels = data.PretrainingBatches(tokens, B, T, special, seed=2).batch(step)
        for row, seen, label in zip(true(ids, targets), mask, labels, strict=True):
            first, last = np.flatnonzero(row[: seen.sum()] == 3)
            assert np.array_equal(row[1:first], np.arange(row[1], row[1] + first - 1))
            assert np.array_equal(row[first + 1 : last], np.arange(row[first + 1], row[first + 1] + last - first - 1))
            assert (row[first + 1] == row[first - 1] + 1) == (label == 0)
            follows[label] += 1
    assert min(follows) > 200


def test_how_much_is_masked_and_with_what():
    chosen = masked = same = other = free = 0
    for step in range(60):
        ids, targets, _, mask, _ = batches(time=63).batch(step)  # 60 tokens that may be masked: no rounding
        at = targets != -100
        assert at.any(axis=1).all() and (targets[at] > 4).all()
        chosen += at.sum()
        free += (true(ids, targets) > 4).sum()
        masked += (ids[at] == 4).sum()
        same += (ids[at] == targets[at]).sum()
        changed = ids[at & (ids != 4)]
        other += len(changed)
        assert (changed > 4).all()
    assert chosen / free == pytest.approx(0.15, abs=0.005)
    assert masked / chosen == pytest.approx(0.8, abs=0.02)
    assert same / chosen == pytest.approx(0.1, abs=0.015)
    assert (other - same) / chosen == pytest.approx(0.1, abs=0.015)


def test_a_batch_follows_from_seed_and_step():
    for one, other in zip(batches().batch(7), batches().batch(7), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(batches().batch(7)[0], batches().batch(8)[0])
    assert not np.array_equal(batches(1).batch(7)[0], batches(2).batch(7)[0])


def test_a_row_of_special_tokens_has_nothing_to_mask():
    ids = np.array([[2, 3, 3], [2, 9, 3]])
    numbers = np.random.Philox(key=1).random_raw(18).reshape(3, 2, 3)
    masked, targets = data.mask_tokens(ids, numbers, SPECIAL)
    assert (targets[0] == -100).all() and np.array_equal(masked[0], ids[0])
    assert targets[1].tolist() == [-100, 9, -100]


def test_what_is_refused():
    with pytest.raises(ValueError, match="time must be at least 8"):
        data.PretrainingBatches(TOKENS, 2, 7, SPECIAL)
    with pytest.raises(ValueError, match="the text has 39 tokens; a pair of segments in time=40 needs at least 40"):
        batches(tokens=TOKENS[:39])
    with pytest.raises(ValueError, match="Character has no cls_token.*'wordpiece'"):
        data.MaskingIds.of(tokenizers.Character("abc"))
    words = tokenizers.WordPiece.train_from_chunks("the cat and the hat", vocab_size=40, min_count=1)
    special = data.MaskingIds.of(words)
    assert words.id_to_token(special.mask) == "[MASK]" and len(special.special) == 5
