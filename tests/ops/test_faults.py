"""The checks can fail: faults planted in every op are reported, in the oracle by finite differences and in the CPU's
kernels by agreement with the oracle."""

import functools

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck.trees import floats
from tests.ops import faults
from tests.ops.properties import (
    OPS,
    PAIRS,
    UPDATES,
    agreement,
    backward_gradients,
    combinations,
    cross_pairing,
    draw,
    forward,
    gradients,
    reference,
)

# (op, field): why a wrong value there changes no gradient in any combination of options
UNUSED: dict[tuple[str, str], str] = {}

known = functools.cache(lambda name, index=0: reference(OPS[name], combinations(OPS[name])[index]))


def caught(check, *arguments, **options) -> bool:
    """Whether a check reports something. A refusal of nonsense by the op itself is a report as well."""
    try:
        with np.errstate(all="ignore"):
            check(*arguments, **options)
    except (AssertionError, ValueError, TypeError, IndexError):
        return True
    return False


@pytest.mark.parametrize("fault", faults.GRADIENT_FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_wrong_gradient(name, fault):
    op = OPS[name]
    options = combinations(op)[0]
    for index, key in enumerate(draw(op).differentiable):
        with faults.replaced(op, "oracle", backward=faults.wrong_gradient(index, fault)):
            assert caught(backward_gradients, op, options), f"finite differences do not see d{key} {fault.__name__}"
        for dtype in (np.float32, np.float64):
            expected = known(name)
            with faults.replaced(op, "cpu", backward=faults.wrong_gradient(index, fault)):
                assert caught(agreement, op, dtypes=[dtype], known=expected), f"agreement does not see d{key} {fault.__name__}"


@pytest.mark.parametrize("fault", faults.OUTPUT_FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_wrong_output(name, fault):
    op = OPS[name]
    y, _ = forward(op, "oracle", draw(op).arguments)
    for index in range(len(floats(y))):
        with faults.replaced(op, "oracle", forward=faults.wrong_output(index, fault)):
            assert caught(gradients, op), f"finite differences do not see output {index} {fault.__name__}"
        for dtype in (np.float32, np.float64):
            expected = known(name)
            with faults.replaced(op, "cpu", forward=faults.wrong_output(index, fault)):
                assert caught(agreement, op, dtypes=[dtype], known=expected), f"agreement does not see output {index}"


@pytest.mark.parametrize("name", PAIRS)
def test_wrong_saved_value(name):
    """A wrong value in any field of Saved is seen in at least one combination of options, wherever it was made."""
    op = OPS[name]
    _, saved = forward(op, "oracle", draw(op).arguments)
    for field in saved._fields:
        by_differences = by_pairing = None  # None: in no combination was there anything to corrupt
        for index, options in enumerate(combinations(op)):
            _, saved = forward(op, "oracle", draw(op, options=options).arguments)
            if faults.corrupted(getattr(saved, field)) is None:
                continue
            with faults.replaced(op, "oracle", forward=faults.wrong_saved(field)):
                by_differences = by_differences or caught(backward_gradients, op, options)
            expected = known(name, index)
            with faults.replaced(op, "cpu", forward=faults.wrong_saved(field)):
                by_pairing = by_pairing or caught(cross_pairing, op, options, known=expected, pairings=[("cpu", "oracle")])
            if by_differences and by_pairing:
                break
        if (name, field) in UNUSED:
            assert not by_differences and not by_pairing, f"{field} is used after all: take it off the list"
        elif by_differences is not None:
            assert by_differences, f"finite differences do not see a wrong saved.{field}"
            assert by_pairing, f"cross-pairing does not see a wrong saved.{field}"


@pytest.mark.parametrize("fault", faults.OUTPUT_FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", UPDATES)
def test_wrong_update(name, fault):
    """An update's arrays are written in place: each is spoilt in turn."""
    op = OPS[name]
    for key in op.updates:
        expected = known(name)
        with faults.replaced(op, "cpu", forward=wrong_update(op, key, fault)):
            assert caught(agreement, op, known=expected), f"agreement does not see {key} {fault.__name__}"


def wrong_update(op, key, fault):
    import importlib
    import inspect

    public = inspect.signature(getattr(importlib.import_module(op.package), op.forward))
    position = list(public.parameters).index(key)

    def wrong(right, *arguments, **options):
        returned = right(*arguments, **options)
        written = options[key] if key in options else arguments[position]
        written[...] = faults.applied(fault, written)
        return returned

    return wrong


def test_the_harness_itself_plants_nothing():
    """Without a fault every check above passes, and a replaced function is put back."""
    for name in PAIRS:
        op = OPS[name]
        before = [getattr(devices.load(op.package, i), op.backward) for i in devices.HOST]
        with faults.replaced(
            op, "oracle", backward=lambda right, *a, **k: right(*a, **k), forward=lambda right, *a, **k: right(*a, **k)
        ):
            backward_gradients(op, combinations(op)[0])
            agreement(op, known=known(name))
        assert before == [getattr(devices.load(op.package, i), op.backward) for i in devices.HOST]
