"""word2vec: the kernel against plain NumPy and against the loss it descends, repeatability, vectors and their text format."""

import contextlib
import itertools
import types

import numpy as np
import pytest

import minilm
from minilm import devices, gradcheck, models
from minilm.gradcheck import cases
from minilm.models import WordVectors, word2vec_training
from minilm.models.word2vec_training import alias_tables, keep_probabilities
from minilm.ops import negative_sampling
from tests.ops import gpu

RNG = np.random.default_rng(0)
V, D = 23, 9


def tables(subsample=1e-1):
    counts = RNG.integers(1, 50, V)
    return keep_probabilities(counts, subsample), *alias_tables(counts, 0.75)


def text(dtype=np.float64, sentences=12):
    lengths = RNG.integers(0, 9, sentences)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    vectors = [RNG.standard_normal((V, D)).astype(dtype) for _ in range(2)]
    return vectors, RNG.integers(0, V, starts[-1]), starts


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0])
def test_negatives_are_drawn_in_proportion_to_a_power_of_the_counts(power, monkeypatch):
    """Those of the tables, and the model's own power is the one that is used."""
    counts = np.array([1, 2, 0, 40, 7, 7, 300])
    given = []
    monkeypatch.setattr(word2vec_training.negative_sampling, "train", lambda *arrays, **_: given.append(arrays[5:7]) or 1 / 0)
    model = models.Word2Vec(models.Word2VecConfig(vocab_size=7, size=3, power=power))
    with pytest.raises(ZeroDivisionError):
        model.train([np.arange(7)], counts=counts)
    ((accept, alias),) = given
    drawn = accept / 7 + np.bincount(alias, (1 - accept) / 7, minlength=7)
    wanted = np.where(counts > 0, counts.astype(float) ** power, 0)
    np.testing.assert_allclose(drawn, wanted / wanted.sum(), rtol=1e-12, atol=1e-15)


OPTIONS = {"window": 3, "negatives": 4, "lr": 0.1, "lr_end": 0.01, "seed": 2**63 + 5}


@pytest.mark.parametrize("cbow", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 2e-5)])
def test_the_kernel_is_the_oracle(cbow, dtype, tolerance):
    (W_in, W_out), ids, starts = text(dtype)
    kept = tables()
    results = []
    for implementation in ("oracle", "cpu"):
        a, b = W_in.copy(), W_out.copy()
        with minilm.implementation(implementation):
            told = negative_sampling.train(a, b, ids, starts, *kept, cbow=cbow, first=7, total=500, **OPTIONS)
        results.append((a, b, told))
    (a1, b1, told1), (a2, b2, told2) = results
    assert told1[1:] == told2[1:] and told1.predictions > 20 and told1.words == len(ids)
    assert told1.loss == pytest.approx(told2.loss, rel=tolerance * 10)
    for ours, theirs, before in ((a2, a1, W_in), (b2, b1, W_out)):
        assert np.abs(ours - theirs).max() < tolerance * 10 and np.abs(ours - before).max() > 1e-3


@pytest.mark.parametrize("cbow", [False, True])
@pytest.mark.parametrize("width, negatives", [(1, 0), (31, 8), (100, 5), (64, 20)])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 2e-5)])
def test_rows_of_any_width_and_any_number_of_negatives(cbow, width, negatives, dtype, tolerance):
    """Rows that are cut into vectors and parts of them; a few words of which most are drawn again and again; and many words."""
    rng = np.random.default_rng(width)
    starts, rest = (
        np.array([0, 1, 9, 40]),
        {"cbow": cbow, "window": 9, "negatives": negatives, "lr": 0.05, "lr_end": 0.05, "seed": 4},
    )
    for words in (3, 500):
        W = [(rng.standard_normal((words, width)) / width**0.5).astype(dtype) for _ in range(2)]
        text_and_tables = (
            rng.integers(0, words, 40),
            starts,
            np.ones(words),
            rng.uniform(0, 1, words),
            rng.integers(0, words, words),
        )
        results = []
        for implementation in ("oracle", "cpu"):
            moved = [each.copy() for each in W]
            with minilm.implementation(implementation):
                results.append((*moved, negative_sampling.train(*moved, *text_and_tables, **rest)))
        (*expected, wanted), (*actual, trained) = results
        assert trained[1:] == wanted[1:] and trained.loss == pytest.approx(wanted.loss, rel=tolerance * 10)
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * 10)


@pytest.mark.parametrize("cbow", [False, True])
def test_a_step_is_the_gradient(cbow):
    """Two words, one prediction each way: what the kernel adds is -lr times the gradient that the pair computes."""
    config = models.Word2VecConfig(V, size=D, algorithm="cbow" if cbow else "skip-gram")
    model = models.Word2Vec(config, dtype=np.float64)
    model.parameters.flat[...] = RNG.standard_normal(model.parameters.flat.shape)
    before = {name: value.copy() for name, value in model.parameters.items()}
    keep, _, _ = tables()
    accept, alias = np.zeros(V), np.full(V, 5)  # the negative is always 5
    lr, ids = 1e-6, np.array([3, 8])
    options = {"window": 1, "negatives": 1, "lr": lr, "lr_end": lr, "seed": 0, "cbow": cbow}
    told = negative_sampling.train(
        model.input.value, model.output.value, ids, np.array([0, 2]), np.ones(V), accept, alias, **options
    )
    moved = {name: (value - before[name]) / -lr for name, value in model.parameters.items()}
    for name, value in before.items():
        model.parameters[name][...] = value
    inputs = np.array([[8], [3]]) if cbow else np.array([3, 8])
    targets = np.array([3, 8]) if cbow else np.array([8, 3])
    loss, saved = model.forward(inputs, targets, np.full((2, 1), 5))
    model.backward(saved, dloss=2.0)  # the sum of two
    assert told.predictions == 2 and told.loss == pytest.approx(2 * loss, rel=1e-4)
    for name, gradient in model.parameters.gradients.items():
        np.testing.assert_allclose(moved[name], gradient, atol=1e-4)


@pytest.mark.parametrize("label", cases.MODELS["Word2Vec"])
def test_gradients(label):
    model, inputs, options = cases.MODELS["Word2Vec"][label]()
    report = gradcheck(model, *inputs, **options)
    assert report, report


def test_results_do_not_depend_on_how_the_text_is_cut():
    (W_in, W_out), ids, starts = text()
    kept = tables()
    whole, parts = [W_in.copy(), W_out.copy()], [W_in.copy(), W_out.copy()]
    negative_sampling.train(*whole, ids, starts, *kept, cbow=False, total=500, **OPTIONS)
    done = 0
    for low, high in ((0, 4), (4, 5), (5, 12)):
        piece = ids[starts[low] : starts[high]], starts[low : high + 1] - starts[low]
        done += negative_sampling.train(*parts, *piece, *kept, cbow=False, first=low, done=done, total=500, **OPTIONS).words
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("implementation", [*devices.HOST, "gpu"])
@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_the_rate_falls_by_words_within_a_sentence(implementation, keep):
    """One sentence of different words: a rate so small that each word's step is that of a constant rate times lr(word) / lr."""
    n, total = 60, 100
    W_in, W_out = (RNG.standard_normal((n, D)) for _ in range(2))
    arguments = (np.arange(n), np.array([0, n]), np.full(n, keep), np.ones(n), np.arange(n))
    options = {"cbow": False, "window": 2, "negatives": 0, "seed": 3, "done": 20, "total": total}
    moved = []
    with gpu.emulated() if implementation == "gpu" else contextlib.nullcontext(), minilm.implementation(implementation):
        for lr_end in (1e-6, 1e-7):
            a, b, *given = devices.to_device([W_in, W_out, *arguments]) if implementation == "gpu" else (
                W_in.copy(), W_out.copy(), *arguments
            )  # fmt: skip
            negative_sampling.train(a, b, *given, lr=1e-6, lr_end=lr_end, **options)
            moved.append(np.abs(devices.to_host(a) - W_in).sum(axis=1))  # (n,)
    left = np.flatnonzero(moved[0])
    part = (20 + n * (np.arange(len(left)) + 1) / len(left)) / total
    assert len(left) == n if keep == 1 else n / 4 < len(left) < n
    np.testing.assert_allclose(moved[1][left] / moved[0][left], 1 - 0.9 * part, rtol=1e-3)


def test_a_long_sentence_is_cut(monkeypatch):
    """As the recipe cuts it; the clock is looked at, and `progress` told, meanwhile."""
    ids = RNG.integers(0, V, 41_500)
    pieces = [ids[start : start + 1000] for start in range(0, len(ids), 1000)]
    config = models.Word2VecConfig(V, size=4)
    whole, cut, stopped = (models.Word2Vec(config, seed=0) for _ in range(3))
    assert whole.train([ids[:300], ids], epochs=1) == cut.train([ids[:300], *pieces], epochs=1)
    np.testing.assert_array_equal(whole.input.value, cut.input.value)
    clock = itertools.count(0, 0.3)  # seconds between two looks
    monkeypatch.setattr(word2vec_training, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    for minutes, looks in ((None, 3), (0.02, 2)):
        told = []
        stopped.train([ids], epochs=1, minutes=minutes, progress=lambda state: told.append(state.words))  # noqa: B023
        assert len(told) == looks and told[0] == 20_000


def test_negatives_follow_their_distribution():
    counts = np.array([0, 1, 4, 9, 100])
    accept, alias = alias_tables(counts, 0.5)
    chances = np.zeros(5)
    for i in range(5):
        chances[i] += accept[i] / 5
        chances[alias[i]] += (1 - accept[i]) / 5
    np.testing.assert_allclose(chances, np.sqrt(counts) / np.sqrt(counts).sum(), atol=1e-12)
    with pytest.raises(ValueError, match="all zero"):
        alias_tables(np.zeros(3), 0.75)


def test_subsampling():
    keep = keep_probabilities([0, 1, 1000], 1e-3)
    assert keep[0] == keep[1] == 1
    assert keep[2] == pytest.approx(np.sqrt(0.001 * 1001 / 1000) + 0.001 * 1001 / 1000)
    assert (keep_probabilities([5, 9], 0) == 1).all()


@pytest.mark.parametrize("algorithm", ["skip-gram", "cbow"])
def test_words_of_like_company_are_near(algorithm):
    """Words 0-4 keep company with 10-14 only, 5-9 with 15-19."""
    rng = np.random.default_rng(1)
    sentences = []
    for _ in range(3000):
        group = rng.integers(2)
        sentences.append(np.array([5 * group + rng.integers(5), 10 + 5 * group + rng.integers(5)]))

    def trained(seed):
        model = models.Word2Vec(models.Word2VecConfig(20, size=16, algorithm=algorithm, subsample=0), seed=seed)
        losses = model.train(sentences, epochs=4, seed=seed, lr=0.1)
        assert losses[-1] < 0.8 * losses[0] and len(losses) == 4
        return model

    model = trained(1)
    found = WordVectors([str(i) for i in range(20)], model.input.value)
    assert {word for word, _ in found.nearest("2", 4)} == {"0", "1", "3", "4"}
    assert {word for word, _ in found.nearest("7", 4)} == {"5", "6", "8", "9"}
    np.testing.assert_array_equal(model.input.value, trained(1).input.value)
    assert not np.array_equal(model.input.value, trained(2).input.value)


def test_minutes_and_progress():
    sentences = [RNG.integers(0, V, 50) for _ in range(2000)]
    model = models.Word2Vec(models.Word2VecConfig(V, size=8))
    told = []
    model.train(sentences, epochs=10**6, minutes=0.01, progress=told.append)
    assert told[-1].done <= 1.5 and told[-1].lr < 0.02 and told[-1].words > 0
    assert len(model.train(sentences, epochs=9, progress=lambda state: True)) <= 9
    assert model.train(sentences, epochs=0) == []


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"ids": np.array([V])}, ValueError, "ids"),
        ({"starts": np.array([0, 2, 1])}, ValueError, "starts"),
        ({"starts": np.array([0, 99])}, ValueError, "starts"),
        ({"keep": np.ones(3)}, ValueError, "keep"),
        ({"alias": np.full(V, -1)}, ValueError, "alias"),
        ({"window": 0}, ValueError, "window"),
        ({"lr": float("nan")}, ValueError, "lr"),
        ({"W_out": np.zeros((V, D), np.float32)}, TypeError, "W_out"),
        ({"W_in": np.zeros((V, 2 * D))[:, ::2]}, ValueError, "W_in"),
    ],
)
def test_wrong_arguments(change, kind, says):
    (W_in, W_out), ids, starts = text()
    keep, accept, alias = tables()
    arguments = {"W_in": W_in, "W_out": W_out, "ids": ids, "starts": starts, "keep": keep, "accept": accept, "alias": alias}
    with pytest.raises(kind, match=says):
        negative_sampling.train(**{**arguments, "cbow": False, **OPTIONS, **change})


def test_wrong_models():
    with pytest.raises(ValueError, match="algorithm"):
        models.Word2VecConfig(5, algorithm="glove")
    model = models.Word2Vec(models.Word2VecConfig(5, size=2, algorithm="cbow"))
    with pytest.raises(ValueError, match=r"inputs\[1\] has no neighbour"):
        model.forward(np.array([[1, 2], [-1, -1]]), np.array([0, 1]), np.zeros((2, 1), int))
    with pytest.raises(ValueError, match="sentences"):
        model.train([np.array([1, 5])])


# --- words with vectors ----------------------------------------------------------------------------------------------

FOUND = WordVectors(
    ["man", "woman", "king", "queen", "well-known"], np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 9]])
)


def test_nearest_and_analogies():
    assert FOUND.analogy("man", "woman", "king", 1)[0][0] == "queen"
    assert FOUND.calculate("king - man + woman", 1)[0][0] == "queen" == FOUND.calculate("woman+king -man", 1)[0][0]
    assert FOUND.calculate("well-known", 1)[0][0] in ("king", "queen")
    assert FOUND.answers([("man", "woman", "king"), ("woman", "man", "queen")]) == ["queen", "king"]
    assert [word for word, _ in FOUND.nearest("king", 9)][0] in ("man", "well-known") and len(FOUND.nearest("king", 9)) == 4
    assert FOUND.nearest(np.array([0, 2.0, 0]), 1) == [("woman", pytest.approx(1))]
    assert FOUND.similarity("man", "woman") == 0 and "man" in FOUND and len(FOUND) == 5
    np.testing.assert_array_equal(FOUND["king"], [1, 0, 1])
    for text_given, says in (("", "wanted a word"), ("kin", "did you mean 'king'"), ("+", "wanted a word")):
        with pytest.raises(ValueError, match=says):
            FOUND.calculate(text_given)
    with pytest.raises(ValueError, match="'a' twice"):
        WordVectors(["a", "a"], np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(2, D\)"):
        WordVectors(["a", "b"], np.zeros((3, 3)))


def test_text_format(tmp_path):
    vectors = (RNG.standard_normal((5, 7)) * 10.0 ** RNG.integers(-9, 9, (5, 7))).astype(np.float32)
    vectors[0, 0] = 0
    path = tmp_path / "vectors.txt"
    WordVectors(["a", "b", "ß", "d-e", "5"], vectors).save_text(path)
    assert path.read_text().splitlines()[0] == "5 7"
    again = WordVectors.load_text(path)
    assert again.words == ["a", "b", "ß", "d-e", "5"]
    np.testing.assert_array_equal(again.vectors, vectors)
    assert len(WordVectors.load_text(path, most=2)) == 2
    path.write_text("the 0.5 1e-3\nof 1 2\n")  # GloVe's
    np.testing.assert_allclose(WordVectors.load_text(path).vectors, [[0.5, 1e-3], [1, 2]])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", ":3: 3 fields, wanted a word and 3 numbers"),
        (b"2 3\na 1 2 3\nb 1 x 3\n", ":3: 'x' is no number"),
        (b"3 2\na 1 2\nb 1 2\n", "tells of 3 words, there are 2"),
        (b"a 1 2\n\xff 1 2\n", ":2: not UTF-8"),
        (b"", "no vectors"),
    ],
)
def test_damaged_text(tmp_path, content, says):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        WordVectors.load_text(path)
    assert str(path) in str(caught.value)


def test_words_with_spaces_are_refused(tmp_path):
    with pytest.raises(ValueError, match="white space"):
        WordVectors(["a b"], np.zeros((1, 2))).save_text(tmp_path / "v")
    assert not list(tmp_path.iterdir())
