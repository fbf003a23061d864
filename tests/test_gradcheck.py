"""The gradient check by itself: it passes what is right, to many digits."""

from typing import NamedTuple

import numpy as np
import pytest

import minilm
from minilm import gradcheck, ops
from minilm.gradcheck import differences

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
W = RNG.standard_normal((2, 4))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, p


def softmax_backward(dy, p):
    return p * (dy - (dy * p).sum(axis=-1, keepdims=True))


# --- what may be checked ---------------------------------------------------------------------------------------------


def test_an_op():
    report = gradcheck(ops.linear, X, W, np.ones(2))
    assert report and report.worst < 1e-11
    assert report.name == "linear" and report.method == "full Jacobian"
    assert list(report.errors) == ["x", "W", "b"]
    assert list(gradcheck(ops.linear, X, W).errors) == ["x", "W"]
    assert list(gradcheck(ops.linear, W=W, x=X).errors) == ["x", "W"]


def test_with_either_implementation():
    for name in ("oracle", "cpu"):
        with minilm.implementation(name):
            assert gradcheck(ops.linear, X, W)


def test_a_pair_of_functions():
    assert gradcheck((softmax, softmax_backward), X)


def test_a_users_own_object():
    class Square:
        def forward(self, x, power=2):
            return x**power, (x, power)

        def backward(self, dy, saved):
            x, power = saved
            return power * x ** (power - 1) * dy

    assert gradcheck(Square(), X).name == "Square"
    assert gradcheck(Square(), X, power=3)


class Out(NamedTuple):
    y: np.ndarray
    last: np.ndarray
    count: int


def test_several_outputs_and_arguments_without_gradient():
    class Thing:
        def forward(self, x, ids, state, scale=1.0):
            a, b = state
            return Out(x[ids] * scale + a, np.tanh(b), len(ids)), (x, ids, b, scale)

        def backward(self, dy, saved):
            x, ids, b, scale = saved
            dy, dlast, nothing = dy
            assert nothing is None
            dx = np.zeros_like(x)
            np.add.at(dx, ids, dy * scale)
            return dx, (dy.sum(axis=0), dlast * (1 - np.tanh(b) ** 2))

    report = gradcheck(Thing(), X, np.array([0, 2, 2]), (RNG.standard_normal(4), RNG.standard_normal(5)), scale=1.5)
    assert report, report
    assert list(report.errors) == ["x", "state.0", "state.1"]


def test_a_loss_takes_no_cotangent():
    class Model:
        def forward(self, x):
            return float((x**3).sum()), x

        def backward(self, saved):
            return 3 * saved**2

    assert gradcheck(Model(), X)


def test_a_number_as_output():
    assert gradcheck((lambda x: ((x**3).sum(), x), lambda dy, x: 3 * x**2 * dy), X)


class Parameters(dict):
    """The least that a thing with parameters needs."""

    def __init__(self, **arrays):
        super().__init__(arrays)
        self.gradient_flat = np.zeros(sum(a.size for a in arrays.values()))
        self.gradients, start = {}, 0
        for name, array in arrays.items():
            self.gradients[name] = self.gradient_flat[start : start + array.size].reshape(array.shape)
            start += array.size


class Layer:
    add = True
    factor = 1.0

    def __init__(self):
        self.parameters = Parameters(weight=np.random.default_rng(1).standard_normal((2, 4)))

    def forward(self, x):
        return x @ self.parameters["weight"].T, x

    def backward(self, dy, x):
        gradient = self.parameters.gradients["weight"]
        gradient[...] = self.factor * dy.T @ x + (gradient if self.add else 0)
        return dy @ self.parameters["weight"]


def test_parameters():
    layer = Layer()
    before = layer.parameters["weight"].copy()
    report = gradcheck(layer, X)
    assert report and list(report.errors) == ["x", "weight"]
    assert np.array_equal(layer.parameters["weight"], before), "the parameters are moved and put back"
    layer.factor = 1 + 1e-6
    report = gradcheck(layer, X)
    assert not report and report.errors["x"] < 1e-11 and 1e-7 < report.errors["weight"] < 1e-5


def test_a_layer_must_add_to_its_gradients():
    layer = Layer()
    layer.add = False
    assert "does not add to the gradient of weight" in str(gradcheck(layer, X))


def test_directions_on_large_arguments():
    report = gradcheck((softmax, softmax_backward), RNG.standard_normal((200, 300)))
    assert report and report.method == "directions" and report.worst < 1e-9
    assert gradcheck((softmax, softmax_backward), X, method="directions").method == "directions"


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1), (0,)])
def test_sizes_of_zero_and_one(shape):
    assert gradcheck((lambda x: (x * x, x), lambda dy, x: 2 * x * dy), np.ones(shape))


# --- misuse ----------------------------------------------------------------------------------------------------------


def test_misuse_is_an_error():
    with pytest.raises(TypeError, match="returned its output as float32 for arguments of float64"):
        gradcheck((lambda x: ((x * x).astype(np.float32), x), lambda dy, x: 2 * x * dy), X)
    with pytest.raises(TypeError, match="forward and backward.*got int"):
        gradcheck(3, X)
    with pytest.raises(TypeError, match="do not fit"):
        gradcheck(ops.linear, X, W, X, X, X)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        gradcheck((lambda n: (n, n), lambda dy, s: dy), 3)
    with pytest.raises(ValueError, match="'z'"):
        gradcheck(ops.linear, X, W, differentiable=["z"])
    with pytest.raises(ValueError, match="method"):
        gradcheck(ops.linear, X, W, method="complex step")
    for tolerance in (0, -1, 2, np.nan):
        with pytest.raises(ValueError, match="tolerance"):
            gradcheck(ops.linear, X, W, tolerance=tolerance)
    with pytest.raises(TypeError, match=r"must return \(outputs, saved\)"):
        gradcheck((lambda x: x, lambda dy, s: dy), X)


def test_inputs_are_left_alone():
    x = X.copy()
    x.flags.writeable = False
    assert gradcheck((softmax, softmax_backward), x)
    assert np.array_equal(x, X)
    assert gradcheck((softmax, softmax_backward), X.T)


def test_float32_arguments_are_widened():
    """The differences are those of float64, whatever came."""
    report = gradcheck(ops.linear, X.astype(np.float32), W.astype(np.float32))
    assert report and report.worst < 1e-11


def test_a_float32_layer_is_checked_as_a_copy_in_float64():
    from minilm import layers

    layer = layers.Linear(4, 2, seed=0)
    before = layer.parameters.flat.copy()
    report = gradcheck(layer, X.astype(np.float32))
    assert report and report.worst < 1e-10
    assert layer.dtype == np.float32 and np.array_equal(layer.parameters.flat, before)
    assert not layer.parameters.gradient_flat.any()


# --- the differences -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, exact",
    [(np.exp, np.exp), (np.sin, np.cos), (np.tanh, lambda x: 1 / np.cosh(x) ** 2), (lambda x: x**5, lambda x: 5 * x**4)],
)
def test_accuracy_of_the_differences(function, exact):
    for x in (0.3, -2.0, 30.0 if function is not np.exp else 3.0):
        found = differences.derivative(lambda t, x=x: np.array([function(x + t)]), differences.first_step(abs(x)))
        np.testing.assert_allclose(found, exact(x), rtol=1e-9, atol=1e-12)


def test_large_offsets():
    """Numbers near 1e4 that differ by about 1, as in a layer norm's worst case: the step follows their spread."""
    report = gradcheck((lambda x: (np.sin(x), x), lambda dy, x: np.cos(x) * dy), X + 1e4)
    assert report and report.worst < 1e-8


def test_the_error_does_not_depend_on_units():
    for unit in (1e-8, 1.0, 1e8):
        assert gradcheck(
            (lambda x, unit=unit: (np.tanh(x / unit), x), lambda dy, x, unit=unit: dy / unit / np.cosh(x / unit) ** 2), X * unit
        )
        wrong = gradcheck(
            (lambda x, unit=unit: (np.tanh(x / unit), x), lambda dy, x, unit=unit: 1.00001 * dy / unit / np.cosh(x / unit) ** 2),
            X * unit,
        )
        assert not wrong


def test_a_report_reads_the_same_wherever_it_is_shown():
    """In a notebook and at Python's prompt, which print its repr."""
    report = gradcheck((softmax, softmax_backward), X)
    assert repr(report) == str(report) and "passed, worst relative error" in repr(report).splitlines()[0]
