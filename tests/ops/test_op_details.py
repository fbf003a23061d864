"""What single ops promise beyond the registry's tests."""

import numpy as np
import pytest

import minilm
from minilm import devices, ops
from minilm.random import Key
from tests.ops.properties import OPS, hosts

DTYPES = (np.float32, np.float64)
each = pytest.mark.parametrize("implementation", devices.HOST)
every = pytest.mark.parametrize("implementation", hosts(OPS["cross_entropy"]))


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# --- embedding -------------------------------------------------------------------------------------------------------


@each
def test_embedding_padding_gets_no_gradient(implementation):
    ids, table, dy = np.array([[1, 3], [3, 0]]), normal(4, 5), normal(2, 2, 5)
    with minilm.implementation(implementation):
        y, saved = ops.embedding.forward(ids, table, 3)
        dW = ops.embedding.backward(dy, saved)
        _, other = ops.embedding.forward(ids, table, -1)
        assert np.array_equal(ops.embedding.backward(dy, other), dW)
    assert np.array_equal(y, table[ids])  # the row itself is read like any other
    assert np.array_equal(dW, [dy[1, 1], dy[0, 0], np.zeros(5), np.zeros(5)])


@each
def test_embedding_of_one_id(implementation):
    with minilm.implementation(implementation):
        y, saved = ops.embedding.forward(np.array(2), normal(4, 5), 1)
        assert y.shape == (5,)
        dW = ops.embedding.backward(np.ones(5), saved)
    assert dW.sum() == 5 and (dW[2] == 1).all()


def test_embedding_ids_that_repeat_thousands_of_times():
    ids, dy = np.zeros(20_000, np.int32), normal(20_000, 3)
    ids[1::2] = 2
    _, saved = ops.embedding.forward(ids, np.zeros((3, 3)))
    expected = [dy[0::2].sum(axis=0), np.zeros(3), dy[1::2].sum(axis=0)]
    np.testing.assert_allclose(ops.embedding.backward(dy, saved), expected, rtol=1e-11)


def test_embedding_of_every_width():
    """Threads share the columns: every cut of them, also where one column is left over."""
    ids = np.arange(60) % 7
    for D in range(1, 70):
        dy, expected = normal(60, D), np.zeros((7, D))
        np.add.at(expected, ids, dy)
        _, saved = ops.embedding.forward(ids, np.zeros((7, D)))
        for threads in (1, 3):
            devices.set_threads(threads)
            np.testing.assert_allclose(ops.embedding.backward(dy, saved), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wrong", [4, -5, 1.0, "0", True])
def test_embedding_wrong_padding(wrong):
    with pytest.raises((TypeError, ValueError), match="padding_idx"):
        ops.embedding.forward(np.array([0]), normal(4, 5), wrong)


# --- cross-entropy ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_without_gradient(implementation, reduction):
    logits, targets = normal(6, 9).astype(np.float32), np.array([0, 8, 3, -100, 2, 1])
    with minilm.implementation(implementation):
        loss, saved = ops.cross_entropy.forward(logits, targets, reduction=reduction, label_smoothing=0.1, gradient=False)
        wanted, _ = ops.cross_entropy.forward(logits, targets, reduction=reduction, label_smoothing=0.1)
        assert np.array_equal(loss, wanted) and np.asarray(loss).dtype == np.float32
        assert saved.dlogits is None
        with pytest.raises(ValueError, match="gradient=False"):
            ops.cross_entropy.backward(loss, saved)


def test_cross_entropy_without_gradient_writes_nothing_large():
    workspace = minilm.Workspace()
    with workspace:
        ops.cross_entropy.forward(np.ones((50, 2000)), np.zeros(50, int), gradient=False)
    assert 0 < workspace.nbytes <= 50 * 8 + 64


@every
def test_cross_entropy_gradient_for_one_is_a_read_only_view(implementation):
    with minilm.implementation(implementation):
        _, saved = ops.cross_entropy.forward(normal(4, 5), np.array([0, 1, 2, 3]))
        kept = saved.dlogits.copy()
        for one in (1, 1.0, np.float32(1), np.array(1.0)):
            first = ops.cross_entropy.backward(one, saved)
            assert np.shares_memory(first, saved.dlogits)
            with pytest.raises(ValueError, match="read-only"):
                first *= 2
        assert np.array_equal(saved.dlogits, kept)
        double = ops.cross_entropy.backward(2, saved)
        assert np.array_equal(double, 2 * kept) and not np.shares_memory(double, saved.dlogits)
        assert np.isnan(ops.cross_entropy.backward(np.nan, saved)).all()


@pytest.mark.parametrize("wrong", ["1", None, True, np.ones(1), np.array(1), 1j])
def test_cross_entropy_wrong_cotangent(wrong):
    _, saved = ops.cross_entropy.forward(normal(4, 5), np.array([0, 1, 2, 3]))
    with pytest.raises(TypeError, match="dloss"):
        ops.cross_entropy.backward(wrong, saved)


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_ignored_rows(implementation, dtype):
    """A row that is ignored is not read: NaN in it is nobody's. With nothing but such rows the mean is NaN, the sum 0."""
    logits, targets = normal(3, 5).astype(dtype), np.array([2, -100, 1])
    logits[1] = np.nan
    with minilm.implementation(implementation), np.errstate(all="ignore"):
        loss, saved = ops.cross_entropy.forward(logits, targets)
        dlogits = ops.cross_entropy.backward(1.0, saved)
        assert np.isfinite(loss) and np.isfinite(dlogits).all() and (dlogits[1] == 0).all()
        targets[:] = -100
        loss, saved = ops.cross_entropy.forward(logits, targets)
        assert np.isnan(loss) and (ops.cross_entropy.backward(1.0, saved) == 0).all()
        assert ops.cross_entropy.forward(logits, targets, reduction="sum")[0] == 0


@every
def test_cross_entropy_of_a_sure_model(implementation):
    """The loss keeps its digits where p is near 1, and where the logits are far from 0."""
    logits = np.array([[0, -12, -12], [1e4, 1e4 - 12, 1e4 - 12]], np.float32)
    with minilm.implementation(implementation):
        loss, _ = ops.cross_entropy.forward(logits, np.array([0, 0]), reduction="none")
    np.testing.assert_allclose(loss, np.log1p(2 * np.exp(-12)), rtol=2e-2)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"targets": np.array([0, 5])}, r"targets\[1\] is 5"),
        ({"targets": np.array([-1, 0])}, r"targets\[0\] is -1"),
        ({"targets": np.array([0])}, "targets"),
        ({"weight": np.ones(4)}, "weight"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"reduction": "max"}, "reduction"),
        ({"ignore_index": 0.5}, "ignore_index"),
        ({"gradient": 1}, "gradient"),
        ({"logits": np.ones((2, 0))}, "logits"),
        ({"logits": np.array(1.0)}, "logits"),
    ],
)
def test_cross_entropy_wrong_arguments(change, named):
    with pytest.raises((TypeError, ValueError), match=named):
        ops.cross_entropy.forward(**{"logits": np.ones((2, 5)), "targets": np.array([0, 1]), **change})


# --- layer normalisation ---------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("mean", [1e3, 1e4, -3e4])
@pytest.mark.parametrize("width", [256, 50_000])  # of so many numbers a plain sum has lost digits
def test_layer_norm_far_from_zero(mean, width, implementation):
    """The mean is 1e4 standard deviations: what float32 holds of the differences comes out, E[x²] - E[x]² would have nothing."""
    x = (normal(20, width) + mean).astype(np.float32)
    exact = (x - x.astype(np.float64).mean(axis=1, keepdims=True)) / x.astype(np.float64).std(axis=1, keepdims=True)
    with devices.implementation(implementation):
        y, saved = ops.layer_norm.forward(x, eps=0.0)
    slack = 1 if implementation == "cpu" else 3  # the plain formula rounds the mean's sum, and takes nothing off for it
    rounding = slack * abs(mean) * 2.0**-24  # of the mean, which is a float32
    assert np.abs(y - exact).max() <= 2 * rounding + 1e-5
    assert np.abs(saved.rstd * x.astype(np.float64).std(axis=1) - 1).max() <= 1e-6 + (slack - 1) * rounding**2


def test_layer_norm_of_a_constant_row():
    y, saved = ops.layer_norm.forward(np.full((2, 7), 3.3, np.float32), beta=np.arange(7, dtype=np.float32))
    np.testing.assert_allclose(y, [np.arange(7)] * 2, atol=1e-4)
    assert np.isfinite(ops.layer_norm.backward(np.ones((2, 7), np.float32), saved)[0]).all()


# --- dropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_rate_and_scale(p):
    x = np.ones(200_000, np.float32)
    y, saved = ops.dropout.forward(x, p, Key(1))
    dropped = (y == 0).mean()
    assert abs(dropped - p) < 5 * np.sqrt(p * (1 - p) / x.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)
    assert np.array_equal(ops.dropout.backward(x, saved), y)


def test_dropout_drops_the_same_everywhere():
    """In both precisions, by both implementations, whatever the shape."""
    masks = []
    for dtype in DTYPES:
        for implementation in devices.HOST:
            for shape in ((3000,), (30, 100), (5, 6, 100)):
                with minilm.implementation(implementation):
                    masks.append((ops.dropout.forward(np.ones(shape, dtype), 0.3, Key(1, 2, 3))[0] != 0).tobytes())
    assert len(set(masks)) == 1
    for other in (Key(2, 2, 3), Key(1, 3, 3), Key(1, 2, 4)):
        assert (ops.dropout.forward(np.ones(3000), 0.3, other)[0] != 0).tobytes() != masks[0]


@each
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_dropout_shared_axis(implementation, axis):
    x = normal(4, 50, 33) + 9
    with minilm.implementation(implementation):
        y, saved = ops.dropout.forward(x, 0.5, Key(4), shared_axis=axis)
        dx = ops.dropout.backward(x, saved)
    factors = y / x
    assert np.ptp(factors, axis=axis).max() < 1e-12
    first = factors.take(0, axis)
    assert 0.3 < (first == 0).mean() < 0.7
    np.testing.assert_allclose(dx, y)


def test_dropout_of_nothing_and_of_everything():
    x = normal(5, 7)
    assert np.array_equal(ops.dropout.forward(x, 0, Key(1))[0], x)
    assert (ops.dropout.forward(x, 1, Key(1))[0] == 0).all()
    for shape in ((), (0,), (3, 0)):
        assert ops.dropout.forward(np.ones(shape), 0.5, Key(1))[0].shape == shape
    assert ops.dropout.forward(np.ones((0, 3, 2)), 0.5, Key(1), shared_axis=1)[0].shape == (0, 3, 2)


@pytest.mark.parametrize(
    "p, key, axis, named",
    [(-0.1, Key(1), None, "p"), (1.1, Key(1), None, "p"), (0.5, 3, None, "key"), (0.5, None, None, "key")]
    + [(0.5, Key(-1), None, "key"), (0.5, Key(1), 2, "shared_axis"), (0.5, Key(1), 1.0, "shared_axis")],
)
def test_dropout_wrong_arguments(p, key, axis, named):
    with pytest.raises((TypeError, ValueError), match=named):
        ops.dropout.forward(np.ones((2, 3)), p, key, shared_axis=axis)
