"""The gradient check fails everything that is wrong, and says what."""

import numpy as np
import pytest

from minilm import gradcheck
from tests.test_gradcheck import RNG, X, softmax, softmax_backward


@pytest.mark.parametrize("method", ["jacobian", "directions"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda g: -g,
        lambda g: g * (1 + 1e-6),
        lambda g: g * 0,
        lambda g: g * np.nan,
        lambda g: np.where(np.arange(g.size).reshape(g.shape) == g.size - 1, g * 1.001, g),
        lambda g: np.where(np.arange(g.size).reshape(g.shape) == 3, np.nan, g),
        lambda g: np.where(np.arange(g.size).reshape(g.shape) == 3, np.inf, g),
        lambda g: g[::-1],
        lambda g: g + 1e-6,
    ],
)
def test_wrong_numbers(wrong, method):
    for rows in (3, 100):
        report = gradcheck(
            (softmax, lambda dy, p: np.array(wrong(softmax_backward(dy, p)))), RNG.standard_normal((rows, 4)), method=method
        )
        assert not report and not report.passed and "FAILED" in str(report)


@pytest.mark.parametrize(
    "backward, says",
    [
        (lambda dy, p: softmax_backward(dy, p)[None], r"dx is float64 \(1, 3, 4\), wanted float64 \(3, 4\)"),
        (lambda dy, p: softmax_backward(dy, p).astype(np.float32), "dx is float32"),
        (lambda dy, p: softmax_backward(dy, p).tolist(), "gradients"),
        (lambda dy, p: None, "returned 0 gradients, wanted 1"),
        (lambda dy, p: (softmax_backward(dy, p), dy), "returned 2 gradients, wanted 1"),
    ],
)
def test_wrong_form(backward, says):
    import re

    report = gradcheck((softmax, backward), X)
    assert not report and re.search(says, str(report)), str(report)


def test_a_zero_gradient_cannot_hide_behind_the_floor():
    """A true gradient 1e-6 of the output's size, returned as zero."""
    report = gradcheck((lambda x: (1 + 1e-6 * np.sin(x), x), lambda dy, x: 0 * dy), X)
    assert not report and report.worst > 1e-3
    assert gradcheck((lambda x: (1 + 1e-6 * np.sin(x), x), lambda dy, x: 1e-6 * np.cos(x) * dy), X)


def test_a_gradient_that_is_zero_in_truth_passes():
    """Rounding errors of the differences are no gradient; the report says that its size is nothing."""
    report = gradcheck((lambda x: (softmax(x)[0].sum(axis=-1), x), lambda dy, x: np.zeros_like(x)), X)
    assert report and report.scales["x"] < 1e-11


def test_impure_functions():
    def writes_input(x):
        y = x * 2
        x[0, 0] += 1e-3
        return y, None

    def writes_cotangent(dy, saved):
        dy *= 2
        return dy.copy()

    def writes_saved(dy, saved):
        saved[...] *= 2
        return 2 * dy

    calls = []

    def forgets(dy, saved):
        calls.append(1)
        return 2 * dy * (1 + 1e-15 * len(calls))

    def double(x):
        return x * 2, x * 2

    for pair, says in (
        ((writes_input, lambda dy, s: 2 * dy), "forward wrote its input x"),
        ((double, writes_cotangent), "backward wrote its cotangent"),
        ((double, writes_saved), "backward wrote saved"),
        ((double, forgets), "backward a second time gave other bits"),
    ):
        report = gradcheck(pair, X)
        assert not report and says in str(report), str(report)


class Stack:
    """Values that only their own methods show."""

    def __init__(self, *values):
        self.pop = list(values).pop


@pytest.mark.parametrize(
    "save, take, says",
    [
        (lambda *values: list(values), lambda saved: saved.pop(), "backward removed saved 0; it must leave saved as it was"),
        (lambda *values: dict(enumerate(values)), lambda saved: saved.pop(0), "backward removed saved 0"),
        (Stack, lambda saved: saved.pop(), "a second backward from the same saved raised IndexError: pop from empty list"),
        (lambda *values: iter(values), next, "a second backward from the same saved raised StopIteration"),
    ],
    ids=["list", "dict", "object", "iterator"],
)
def test_a_backward_that_uses_saved_up(save, take, says):
    """It is named, and the gradients are compared all the same."""
    report = gradcheck((lambda x: (x**2, save(x)), lambda dy, saved: 2 * dy * take(saved)), X)
    assert not report and report.worst < 1e-8 and says in str(report), str(report)
    report = gradcheck((lambda x: (x**2, save(x)), lambda dy, saved: 3 * dy * take(saved)), X)
    assert not report and report.worst > 0.1 and says in str(report), str(report)


def test_an_exception_of_the_first_backward_is_the_users_own():
    with pytest.raises(IndexError, match="pop from empty list"):
        gradcheck((lambda x: (x, []), lambda dy, saved: saved.pop()), X)


def test_a_forward_that_is_not_repeatable():
    numbers = iter(range(10**6))
    report = gradcheck((lambda x: (x * (1 + 1e-15 * next(numbers)), None), lambda dy, s: dy), X)
    assert "forward a second time gave other bits" in str(report)


def test_not_finite():
    assert "not finite" in str(gradcheck((lambda x: (np.log(x - x), x), lambda dy, x: dy), X[:1]))
    assert not gradcheck((softmax, softmax_backward), X * np.nan)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_kinks():
    """Beside a kink the step shrinks until it no longer crosses it; on a kink there is no derivative to agree with."""
    relu = (lambda x: (np.maximum(x, 0), x), lambda dy, x: dy * (x > 0))
    assert gradcheck(relu, np.array([1e-3, -1e-3, 1e-4, -2.0, 3.0]))
    assert not gradcheck(relu, np.array([0.0, 1.0, 2.0]))
