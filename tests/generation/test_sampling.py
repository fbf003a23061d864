"""The distribution that is drawn from, against its definition written as loops; and the draws, against the distribution."""

import contextlib
import math

import numpy as np
import pytest

import minilm
from minilm import devices, ops
from minilm.generation import greedy_ids, keep_top_k, keep_top_p, probabilities, sample_ids
from minilm.ops import philox
from minilm.random import Key
from tests.ops import gpu

LOGITS = np.log(np.array([[0.05, 0.4, 0.1, 0.25, 0.2]]))


def by_definition(logits, temperature=1.0, top_k=None, top_p=None):
    """One row, in Python's own numbers."""
    order = sorted(range(len(logits)), key=lambda v: (-logits[v], v))
    kept = order if top_k is None else order[:top_k]
    peak = logits[order[0]]
    weights = {v: math.exp((logits[v] - peak) / temperature) for v in kept}
    if top_p is not None and top_p < 1:
        total, nucleus, reached = math.fsum(weights.values()), [], 0.0
        for v in kept:
            if reached >= top_p * total * (1 - 1e-12):
                break
            nucleus.append(v)
            reached += weights[v]
        weights = {v: weights[v] for v in nucleus}
    total = math.fsum(weights.values())
    return np.array([weights.get(v, 0.0) / total for v in range(len(logits))])


OPTIONS = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 1},
    {"top_k": 3},
    {"top_p": 0.1},
    {"top_p": 0.7},
    {"top_p": 0.999},
    {"temperature": 0.7, "top_k": 4, "top_p": 0.8},
    {"temperature": 1.5, "top_k": 9, "top_p": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("V", [1, 2, 5, 65, 3000, 9000])
@pytest.mark.parametrize("kind", ["smooth", "ties", "flat", "peaked"])
def test_probabilities_are_those_of_the_definition(V, options, kind):
    rng = np.random.default_rng(V)
    rows = {
        "smooth": rng.standard_normal((3, V)),
        "ties": rng.integers(-3, 3, (3, V)).astype(float),
        "flat": np.ones((3, V)),
        "peaked": rng.standard_normal((3, V)) * 20,
    }[kind]
    found = probabilities(rows, **options)
    assert found.shape == rows.shape and found.dtype == np.float64
    for row, q in zip(rows, found, strict=True):
        expected = by_definition(row.tolist(), **options)
        assert np.array_equal(q > 0, expected > 0)
        np.testing.assert_allclose(q, expected, rtol=1e-11, atol=0)


def test_the_order_is_temperature_top_k_top_p():
    """Any other order keeps another set here."""
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]]))
    # the hot distribution is flat: 0.29 0.26 0.24 0.21; of its first three 0.37 0.33 0.30
    kept = probabilities(logits, temperature=4.0, top_k=3, top_p=0.69)[0] > 0
    assert kept.tolist() == [True, True, False, False]
    assert (probabilities(logits, temperature=4.0, top_p=0.69)[0] > 0).sum() == 3
    assert (probabilities(logits, top_k=3, top_p=0.69)[0] > 0).sum() == 2
    assert (probabilities(logits, temperature=4.0, top_k=3, top_p=0.71)[0] > 0).sum() == 3


@pytest.mark.parametrize(
    "k, kept", [(1, [1]), (2, [1, 3]), (3, [1, 3, 4]), (4, [1, 2, 3, 4]), (5, [0, 1, 2, 3, 4]), (99, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_the_k_largest(k, kept):
    assert np.flatnonzero(np.isfinite(keep_top_k(LOGITS, k)[0])).tolist() == kept


def test_of_equal_logits_the_first_are_kept():
    logits = np.array([[1.0, 2.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert [np.flatnonzero(np.isfinite(row)).tolist() for row in keep_top_k(logits, 3)] == [[0, 1, 2], [0, 1, 2]]
    assert np.flatnonzero(np.isfinite(keep_top_p(np.zeros((1, 5)), 0.41)[0])).tolist() == [0, 1, 2]
    assert greedy_ids(logits).tolist() == [1, 0]


@pytest.mark.parametrize(
    "p, size",
    [(1e-9, 1), (0.4, 1), (0.4000001, 2), (0.65, 2), (0.651, 3), (0.85, 3), (0.86, 4), (0.95, 4), (0.9500001, 5), (1.0, 5)],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(p, size):
    """The probabilities are 0.4 0.25 0.2 0.1 0.05: at p = 0.65 the second one completes the sum."""
    kept = keep_top_p(LOGITS, p)
    assert np.isfinite(kept[0]).sum() == size
    assert np.array_equal(kept[np.isfinite(kept)], LOGITS[np.isfinite(kept)])


def test_a_sum_reaches_p_whatever_it_rounds_to():
    """0.5 and 0.3 are enough for p = 0.8: tenths that sum to p exactly, in all ways to write 10 as a sum of falling numbers."""

    def partitions(rest, largest):
        if rest == 0:
            yield []
        for part in range(min(rest, largest), 0, -1):
            yield from ([part, *others] for others in partitions(rest - part, part))

    for tenths in partitions(10, 9):
        logits = np.log(np.array([tenths]) / 10)
        for size in range(1, len(tenths)):
            assert np.isfinite(keep_top_p(logits, sum(tenths[:size]) / 10)).sum() == size


@pytest.mark.parametrize("implementation", ["oracle", "cpu", "gpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_drawn_from_is_the_smallest_set_that_reaches_p(implementation, dtype):
    """A draw's probability tells the weight of all that it was drawn from: one token more or less at the boundary shows.

    Equal and unequal weights, at p on a partial sum, a little below and a little above it. (float32 rounds the logits, so that
    there p is the sum of what they are.)
    """
    for weights in ([4, 3, 2, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [5, 2, 2, 1], [9, 1], [3, 3, 1, 1, 1, 1]):
        logits = np.log(np.array(weights) / 10).astype(dtype)  # (V,) most probable first
        p = np.exp(logits.astype(float) - logits.max())
        sums = np.cumsum(p / p.sum())  # (V,)
        for size in range(1, len(weights)):
            for nudge, kept in ((-1e-6, size), (0, size), (1e-6, size + 1)):
                with drawing(implementation) as there:
                    rows = there(np.repeat(logits[None, ::-1].copy(), 16, axis=0))
                    drawn = devices.to_host(ops.sampling.forward(rows, Key(size), top_p=sums[size - 1] + nudge))
                ids = len(weights) - 1 - drawn.ids  # (16,) the first is the most probable
                assert np.allclose(drawn.probability * sums[kept - 1], p[ids] / p.sum(), rtol=1e-5), (weights, size, nudge)


@contextlib.contextmanager
def drawing(implementation):
    """Ops by one implementation, and how an array gets to where it computes."""
    if implementation == "gpu":
        with gpu.emulated():
            yield devices.to_device
        return
    with minilm.implementation(implementation):
        yield lambda array: array


def test_no_ops_change_no_bit():
    logits = np.random.default_rng(0).standard_normal((2, 700)).astype(np.float32)
    plain = probabilities(logits)
    for options in ({"top_p": 1.0}, {"top_k": 700}, {"top_k": 10**6}, {"top_k": 700, "top_p": 1, "temperature": 1}):
        assert np.array_equal(probabilities(logits, **options), plain)
        assert np.array_equal(sample_ids(logits, Key(1), **options), sample_ids(logits, Key(1)))


def test_a_nucleus_of_thousands_of_tokens():
    rng = np.random.default_rng(3)
    for V in (1025, 30_000):
        logits = rng.standard_normal((1, V)) * 0.1
        q = probabilities(logits, top_p=0.9)[0]
        expected = by_definition(logits[0].tolist(), top_p=0.9)
        assert np.array_equal(q > 0, expected > 0) and (q > 0).sum() > 8 * 512 * (V == 30_000)


def chi_square(ids, q):
    """Pearson's statistic of drawn ids, and a bound that one in a million random ones exceeds."""
    counts = np.bincount(ids, minlength=len(q))
    assert not counts[q == 0].any(), "a token of no probability was drawn"
    expected = q[q > 0] * len(ids)
    freedom = max(1, len(expected) - 1)
    return ((counts[q > 0] - expected) ** 2 / expected).sum(), freedom + 5 * math.sqrt(2 * freedom) + 12


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("V", [5, 40])
def test_draws_have_the_distribution(options, V):
    logits = np.random.default_rng(V).standard_normal((1, V)).astype(np.float32)
    q = by_definition(logits[0].astype(float).tolist(), **options)
    side_by_side = sample_ids(np.repeat(logits, 40_000, axis=0), Key(seed=7, step=3), **options)
    statistic, bound = chi_square(side_by_side, q)
    assert statistic < bound
    one_by_one = np.concatenate([sample_ids(logits, Key(seed=7, step=t), **options) for t in range(3000)])
    statistic, bound = chi_square(one_by_one, q)
    assert statistic < bound


def test_rows_do_not_depend_on_each_other():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((64, 30)).astype(np.float32)
    for options in OPTIONS:
        whole = sample_ids(logits, Key(5, 2), **options)
        for rows in (1, 3, 40):
            assert np.array_equal(sample_ids(logits[:rows], Key(5, 2), **options), whole[:rows])


def test_the_key_decides():
    logits = np.zeros((50, 100), np.float32)
    drawn = sample_ids(logits, Key(1, 2))
    assert np.array_equal(drawn, sample_ids(logits.astype(np.float64), Key(1, 2)))
    for other in (Key(2, 2), Key(1, 3), Key(1, 2, 1)):
        assert (drawn != sample_ids(logits, other)).mean() > 0.9
    assert len(set(drawn)) > 25


def test_known_draws():
    """The same everywhere. Philox's published first word is 0x6627e8d5, u = 0.399: of 1 + ... + 10 = 55 that is 21.9, id 6."""
    q = np.tile(np.arange(1, 11) / 55, (8, 1))
    assert sample_ids(np.log(q), Key(0, 0)).tolist() == [6, 8, 9, 8, 1, 3, 8, 7]


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-53])
def test_extreme_random_numbers(number, monkeypatch):
    """The smallest and the largest number there is fall on tokens that have probability."""
    monkeypatch.setattr(philox, "uniform", lambda key, shape, dtype: np.full(shape, number))
    for scale in (1e-3, 1.0, 30.0):
        for V in (1, 3, 1000):
            logits = np.random.default_rng(V).standard_normal((200, V)) * scale
            logits[:, 0] = logits[:, -1] = -np.inf if V > 1 else 0
            ids = sample_ids(logits, Key(0))
            assert (probabilities(logits)[np.arange(200), ids] > 0).all()
            if V > 1 and number != 0.5:
                assert (ids == (1 if number == 0 else V - 2)).all() or scale == 30.0


def test_temperature():
    assert np.array_equal(probabilities(LOGITS, temperature=0), [[0, 1, 0, 0, 0]])
    assert sample_ids(np.repeat(LOGITS, 9, axis=0), Key(0), temperature=0).tolist() == [1] * 9
    np.testing.assert_allclose(probabilities(LOGITS, temperature=1e-300), [[0, 1, 0, 0, 0]])
    np.testing.assert_allclose(probabilities(LOGITS, temperature=1e300), np.full((1, 5), 0.2))
    assert np.isfinite(probabilities(np.array([[1e4, -1e4, 0.0]]), temperature=1e-4)).all()


def test_minus_infinity_rules_a_token_out():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0]])
    np.testing.assert_array_equal(probabilities(logits), [[0, 0.5, 0, 0.5]])
    for options in ({"top_k": 3}, {"top_p": 0.99}, {"top_k": 3, "top_p": 0.999}):
        assert np.array_equal(probabilities(logits, **options), [[0, 0.5, 0, 0.5]])


def test_inputs_are_left_alone():
    logits = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    before = logits.copy()
    logits.flags.writeable = False
    for options in OPTIONS:
        sample_ids(logits, Key(0), **options)
        probabilities(logits.T, **options)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_not_finite(bad, temperature):
    logits = np.zeros((3, 4))
    logits[1, 2] = bad
    with pytest.raises(ValueError, match=f"finite.*got {bad}"):
        sample_ids(logits, Key(0), temperature)
    logits[1] = -np.inf
    with pytest.raises(ValueError, match="finite.*got -inf"):
        probabilities(logits, temperature)


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"temperature": -0.1}, ValueError, r"temperature must lie in \[0, inf\), got -0.1"),
        ({"temperature": math.nan}, ValueError, "temperature.*nan"),
        ({"temperature": math.inf}, ValueError, "temperature.*inf"),
        ({"temperature": "hot"}, TypeError, "temperature must be a number, got str 'hot'"),
        ({"top_k": 0}, ValueError, r"top_k must lie in \[1, "),
        ({"top_k": -3}, ValueError, "top_k.*-3"),
        ({"top_k": 2.5}, TypeError, "top_k must be a whole number, got float 2.5"),
        ({"top_p": 0}, ValueError, r"top_p must lie in \(0, 1\], got 0"),
        ({"top_p": 1.5}, ValueError, "top_p.*1.5"),
        ({"top_p": math.nan}, ValueError, "top_p.*nan"),
    ],
)
def test_options_out_of_range(options, error, says):
    with pytest.raises(error, match=says):
        probabilities(LOGITS, **options)
    with pytest.raises(error, match=says):
        sample_ids(LOGITS, Key(0), **options)


@pytest.mark.parametrize(
    "logits, error, says",
    [
        ([[0.0, 1.0]], TypeError, "logits must be a numpy array, got list"),
        (np.zeros((2, 3), int), TypeError, "float32 or float64"),
        (np.zeros(3), ValueError, r"logits must have shape \(B, V\)"),
        (np.zeros((2, 0)), ValueError, "at least 1"),
    ],
)
def test_logits_of_another_form(logits, error, says):
    for function in (probabilities, lambda x: sample_ids(x, Key(0)), greedy_ids):
        with pytest.raises(error, match=says):
            function(logits)
    assert sample_ids(np.zeros((0, 3)), Key(0)).shape == (0,)
