"""Numbers that must come out to the last digits or bits, which the computed tolerances of the agreement tests are too wide for:
ties, sums of many numbers, logarithms of sums, and corrections of the first steps. On the CPU and on the GPU that it plays."""

import contextlib
import itertools
import math

import numpy as np
import pytest

from minilm import devices, ops
from minilm.random import Key
from tests.ops import gpu
from tests.ops.properties import OPS

IMPLEMENTATIONS = ("oracle", "cpu", "gpu")
EPS = float(np.finfo(np.float32).eps)


@pytest.fixture(params=IMPLEMENTATIONS)
def on(request):
    """Calls a function by one implementation: ``on(function, *arrays, **options)``, with arrays and results of the host."""

    def call(function, *arrays, **options):
        if request.param == "gpu":
            arrays, options = devices.to_device((arrays, options))
        return devices.to_host(function(*arrays, **options))

    call.implementation = request.param
    with gpu.emulated() if request.param == "gpu" else devices.implementation(request.param):
        yield call


# --- ties --------------------------------------------------------------------------------------------------------------


def best_sequence(emissions, transitions, start, end):
    """Of the best sequences of one row that which is least, read from its end: at every choice the lower tag wins."""
    T, K = emissions.shape

    def score(y):
        return start[y[0]] + emissions[range(T), y].sum() + sum(transitions[a, b] for a, b in itertools.pairwise(y)) + end[y[-1]]

    sequences = list(itertools.product(range(K), repeat=T))
    scores = [score(y) for y in sequences]
    return min((y for y, s in zip(sequences, scores, strict=True) if s == max(scores)), key=lambda y: y[::-1])


@pytest.mark.parametrize("seed", range(4))
def test_of_equal_sequences_of_tags_the_lower_tags_win(on, seed):
    """Scores of whole numbers, most of which tie: on the way, at the last step, and for all tags at once."""
    rng = np.random.default_rng(seed)
    B, T, K = 6, 4, 3
    scores = [rng.integers(0, 2, shape).astype(np.float32) for shape in ((B, T, K), (K, K), K, K)]
    scores[0][0] = 0
    if seed == 0:
        scores[1:] = [np.zeros_like(each) for each in scores[1:]]
    tags, _ = on(ops.crf.decode, *scores)
    assert tags.tolist() == [list(best_sequence(emissions, *scores[1:])) for emissions in scores[0]]


def test_of_equal_logits_the_lower_ids_win(on):
    """Greedily, and of those that tie at the edge of top-k and of the nucleus."""
    logits = np.zeros((3, 9), np.float32)
    logits[1, 3:] = 1
    logits[2, [4, 7]] = 2
    for options in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}):
        assert on(ops.sampling.forward, logits, Key(3), **options).ids.tolist() == [0, 3, 4]
    drawn = {on(ops.sampling.forward, logits[:1], Key(3, step), top_k=3).ids[0] for step in range(60)}
    assert drawn == {0, 1, 2}
    drawn = {on(ops.sampling.forward, logits[:1], Key(3, step), top_p=2 / 9).ids[0] for step in range(60)}
    assert drawn == {0, 1}


# --- sums --------------------------------------------------------------------------------------------------------------

MANY = 2**18


def test_the_norm_of_many_gradients(on):
    """Squares are summed in float64: in float32 the later ones would lose their digits, and large ones be infinite."""
    assert float(on(ops.clip.norm, np.full(MANY, 0.1, np.float32))) == pytest.approx(float(np.float32(0.1)) * 2**9, rel=2 * EPS)
    for size in (1e25, 1e-25):
        assert float(on(ops.clip.norm, np.full(16, size, np.float32))) == pytest.approx(4 * size, rel=2 * EPS)


def test_the_mean_over_many_rows_of_little_weight(on):
    """Of equal rows the mean is each one's loss, however many there are: the weights are summed in float64 too."""
    logits, targets = np.tile(np.float32([[0.5, 0.0]]), (MANY, 1)), np.zeros(MANY, np.int64)
    weight = np.float32([0.1, 0.7])
    options = gpu.version(OPS["cross_entropy"], 1) if on.implementation == "gpu" else contextlib.nullcontext()
    with options:  # a thread a row: the CPU plays 64 threads at once, and blocks one after the other
        loss, saved = on(ops.cross_entropy.forward, logits, targets, weight)
    assert float(loss) == pytest.approx(math.log1p(math.exp(-0.5)), rel=4 * EPS)
    p = 1 / (1 + math.exp(-0.5))
    np.testing.assert_allclose(saved.dlogits[-1] * MANY, [p - 1, 1 - p], rtol=8 * EPS)


@pytest.mark.parametrize("rows", [1, 3, 777])
def test_the_sum_of_logarithms_is_of_double_precision(rows):
    """Of n equal logits the loss is log n; its float64 value, times the number of rows, is rounded once, at the end."""
    for n in range(2, 40):
        logits, targets = np.zeros((rows, n), np.float32), np.zeros(rows, np.int64)
        loss, _ = ops.cross_entropy.forward(logits, targets, reduction="sum", gradient=False)
        assert loss == np.float32(rows * math.log(n)), n


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 17, 33, 131])
def test_every_column_of_a_table_gets_its_gradient(width, threads):
    """Whole numbers, whose sums are exact: also of odd widths, and where threads share the columns of many ids."""
    rng = np.random.default_rng(0)
    ids, dy = rng.integers(0, 5, 2**16), rng.integers(-2, 3, (2**16, width)).astype(np.float32)
    devices.set_threads(threads)
    _, saved = ops.embedding.forward(ids, np.zeros((5, width), np.float32))
    wanted = [dy[ids == v].sum(axis=0, dtype=np.float64) for v in range(5)]
    assert np.array_equal(ops.embedding.backward(dy, saved), wanted)


# --- the first steps of Adam ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.9999), (0.999, 0.99999)])
@pytest.mark.parametrize("g", [3.0, -1e-3])
def test_the_first_steps_of_adam_are_as_long_as_the_rate(on, betas, g):
    """With equal gradients m / (1 - beta1^t) is g and v / (1 - beta2^t) is g^2 at every step: the corrections have all digits."""
    m, v = np.zeros(5, np.float32), np.zeros(5, np.float32)
    for t in range(1, 5):
        options = {"step": t, "lr": 0.5, "beta1": betas[0], "beta2": betas[1], "eps": 0.0}
        param = np.zeros(5, np.float32)
        found = on(stepped, param, np.full(5, g, np.float32), m, v, **options)
        np.testing.assert_allclose(found[0], -0.5 * np.sign(g), rtol=4e-6)
        m, v = found[1:]


def stepped(param, grad, m, v, **options):
    """New values of param, m and v."""
    ops.adam.step(param, grad, m, v, **options)
    return param, m, v


def test_a_largest_number_that_is_none_stays_none(on):
    """A NaN among the largest means of squares so far is not replaced by the next one: a run that went wrong stays so."""
    v_max = np.float32([np.nan, 1, 4])
    arrays = [np.ones(3, np.float32) for _ in range(4)]
    found = on(largest_of, *arrays, v_max, step=2, lr=0.1)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all() and found[2] == 4


def largest_of(param, grad, m, v, v_max, **options):
    """New values of v_max."""
    ops.adam.step(param, grad, m, v, v_max, **options)
    return v_max
