"""The conditional random field where scores are -inf, against all sequences written out: any score may forbid, and all may."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minilm import devices, layers, optimizers
from minilm.ops import crf
from tests.ops import gpu

SCORES = ("emissions", "transitions", "start", "end")


class Everything:
    """What the sequences of each row give, written out: nll, gradients for dnll, marginals, and the best sequence."""

    def __init__(self, emissions, tags, transitions, start, end, lengths, dnll):
        self.nll, self.sequences = np.empty(len(tags)), []  # (B,), each row's sequences and their scores
        self.gradients = [np.zeros_like(a) for a in (emissions, transitions, start, end)]
        self.marginals = np.zeros_like(emissions)  # (B, T, K)
        for b, L in enumerate(lengths):
            y = np.array(list(itertools.product(range(len(start)), repeat=L)))  # (K^L, L)
            s = start[y[:, 0]] + emissions[b, np.arange(L), y].sum(axis=1) + end[y[:, -1]]
            s = s + transitions[y[:, :-1], y[:, 1:]].sum(axis=1)  # (K^L,)
            right = (y == tags[b, :L]).all(axis=1)  # (K^L,)
            largest = s.max()
            p = np.exp(s - (largest if largest > -np.inf else 0))  # (K^L,)
            Z = p.sum()
            self.nll[b] = np.log(Z) - (s[right][0] - largest) if s[right][0] > -np.inf else np.inf
            p = p / Z if Z > 0 else p
            self.sequences.append((y, s))
            for t, j in itertools.product(range(L), range(len(start))):
                self.marginals[b, t, j] = p[y[:, t] == j].sum()
            for path, share in zip(y, dnll[b] * (p - right), strict=True):
                self.gradients[0][b, np.arange(L), path] += share
                np.add.at(self.gradients[1], (path[:-1], path[1:]), share)
                self.gradients[2][path[0]] += share
                self.gradients[3][path[-1]] += share


@contextlib.contextmanager
def running(implementation):
    with gpu.emulated() if implementation == "gpu" else contextlib.nullcontext(), devices.implementation(implementation):
        yield devices.to_device if implementation == "gpu" else lambda tree: tree


def check(implementation, dtype, scores, tags, lengths):
    """Loss, gradients, marginals and the best sequence of one implementation against `Everything`."""
    dnll = np.linspace(0.7, -1.3, len(tags))
    wanted = Everything(scores["emissions"], tags, *(scores[name] for name in SCORES[1:]), lengths, dnll)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    with running(implementation) as moved:
        e, A, start, end = moved([scores[name].astype(dtype) for name in SCORES])
        tags, lengths = moved((tags, np.array(lengths)))
        nll, saved = crf.forward(e, tags, A, start, end, lengths)
        nll, gradients, *best = devices.to_host(
            (nll, crf.backward(moved(dnll.astype(dtype)), saved), *crf.decode(e, A, start, end, lengths))
        )
        layer = layers.CRF(len(start), dtype=dtype)
        if implementation == "gpu":
            layer.to("cuda")
        layer.transitions.value, layer.start_transitions.value, layer.end_transitions.value = devices.to_host((A, start, end))
        marginals = devices.to_host(layer.marginals(e, lengths))
    np.testing.assert_allclose(nll, wanted.nll, **close)
    for found, each in zip(gradients, wanted.gradients, strict=True):
        np.testing.assert_allclose(found, each, **close)
    np.testing.assert_allclose(marginals, wanted.marginals, **close)
    for row, score, (y, s) in zip(*best, wanted.sequences, strict=True):
        L = y.shape[1]
        np.testing.assert_allclose(score, s.max(), **close)
        np.testing.assert_allclose(s[(y == row[:L]).all(axis=1)], s.max(), **close)
        assert (row[L:] == -100).all()


def plain(B=2, T=3, K=3):
    """Scores of zero, of rows of full length."""
    shapes = {"emissions": (B, T, K), "transitions": (K, K), "start": (K,), "end": (K,)}
    return {name: np.zeros(shape) for name, shape in shapes.items()}


IMPLEMENTATIONS = (*devices.HOST, "gpu")
DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_tag_that_only_begins(implementation, dtype):
    """START: nothing leads to it, and every sequence begins with it. One of 8 equal ones has -log p = log 8."""
    scores = plain(1, 4)
    scores["transitions"][:, 0] = scores["start"][1:] = -np.inf
    with running(implementation) as moved:
        given = moved([scores[name].astype(dtype) for name in SCORES])
        nll = devices.to_host(crf.forward(given[0], moved(np.array([[0, 1, 2, 1]])), *given[1:])[0])
    np.testing.assert_allclose(nll, [np.log(8)], rtol=1e-6)
    check(implementation, dtype, scores, np.array([[0, 1, 2, 1]]), [4])


@pytest.mark.parametrize("what", ["padding tag", "one may begin", "one may end", "no way at all", "no end", "no emission"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_usual_ways_to_forbid(implementation, what):
    scores = plain()
    rng = np.random.default_rng(0)
    scores["emissions"][...] = rng.standard_normal(scores["emissions"].shape)
    if what == "padding tag":
        scores["transitions"][:, 2] = scores["transitions"][2] = scores["start"][2] = scores["end"][2] = -np.inf
    elif what == "one may begin":
        scores["start"][1:] = -np.inf
    elif what == "one may end":
        scores["end"][:2] = -np.inf
    elif what == "no way at all":
        scores["transitions"][...] = -np.inf
    elif what == "no end":
        scores["end"][...] = -np.inf
    else:
        scores["emissions"][0, 1] = -np.inf
    for tags in ([[0, 1, 0], [1, 1, 0]], [[2, 1, 2], [0, 0, 2]]):
        for dtype in DTYPES:
            check(implementation, dtype, scores, np.array(tags), [3, 2])
            check(implementation, dtype, scores, np.array(tags), [1, 3])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@given(st.integers(0, 2**32), st.tuples(*map(st.integers, (1, 1, 1), (3, 4, 3))), st.sampled_from([0.2, 0.5, 0.8]))
@example(0, (1, 1, 1), 1.0)
def test_any_scores_may_forbid(implementation, seed, sizes, part):
    rng, (B, T, K) = np.random.default_rng(seed), sizes
    scores = plain(B, T, K)
    for value in scores.values():
        value[...] = np.where(rng.random(value.shape) < part, -np.inf, 3 * rng.standard_normal(value.shape))
    tags, lengths = rng.integers(0, K, (B, T)), rng.integers(1, T + 1, B)
    for dtype in DTYPES:
        check(implementation, dtype, scores, tags, lengths.tolist())


OPTIMIZERS = {
    "sgd": lambda parameters: optimizers.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: optimizers.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda parameters: optimizers.Adam(parameters, lr=0.1),
    "adam, decay": lambda parameters: optimizers.Adam(parameters, lr=0.1, weight_decay=0.1),
    "adamw": lambda parameters: optimizers.AdamW(parameters, lr=0.1, weight_decay=0.1),
    "clipped": lambda parameters: optimizers.Adam(parameters, lr=0.1, clip_norm=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_training_keeps_what_is_forbidden(implementation, name):
    """0 times -inf, as in a decay of 0 or in a mean, would be NaN."""
    rng, tags, lengths = np.random.default_rng(0), np.array([[0, 1, 2, 1]]), np.array([4])
    with running(implementation) as moved:
        layer = layers.CRF(3, seed=0)
        layer.transitions.value[:, 0] = layer.start_transitions.value[1:] = -np.inf
        forbidden = np.isinf(layer.parameters.flat)
        if implementation == "gpu":
            layer.to("cuda")
        optimizer, average = OPTIMIZERS[name](layer.parameters), optimizers.WeightAverage(layer.parameters)
        emissions, losses = moved(rng.standard_normal((1, 4, 3)).astype(np.float32)), []
        for _ in range(4):
            nll, saved = layer.forward(emissions, moved(tags), moved(lengths))
            layer.backward(moved(np.ones(1, np.float32)), saved)
            optimizer.step()
            average.update()
            losses.append(float(devices.to_host(nll)[0]))
        states = devices.to_host([state for group in optimizer.state_dict().items() for state in group])
        with average.applied():
            averaged = devices.to_host(layer.parameters.flat).copy()
        after = devices.to_host(layer.parameters.flat)
    assert losses[3] < losses[0]
    for flat in (after, averaged):
        np.testing.assert_array_equal(flat == -np.inf, forbidden)
        assert np.isfinite(flat[~forbidden]).all()
    assert all(np.isfinite(state).all() for state in states if isinstance(state, np.ndarray) and state.dtype.kind == "f")
