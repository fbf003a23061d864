"""Wrong arguments are named before a kernel sees them. Every op, every argument, generically."""

import inspect
import re

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck.trees import is_float, leaves
from minilm.ops.contract import Case
from tests.ops.properties import OPS, PAIRS, combinations, cotangent, draw, forward, functions, label, pytest_combinations, run

ERRORS = (TypeError, ValueError)
ALL = pytest_combinations(OPS)


def arrays(arguments, kinds="fiu"):
    return [k for k, v in arguments.items() if isinstance(v, np.ndarray) and v.dtype.kind in kinds]


def must_raise(op, arguments, key, errors=ERRORS):
    """The public function refuses, and the message names the argument."""
    with pytest.raises(errors) as caught:
        forward(op, "cpu", arguments)
    message = str(caught.value)
    assert re.search(rf"\b{key}\b", message), f"{key} is not named in: {message}"


def refuses_or_agrees(op, case, changed):
    """Refused, naming some argument; or computed as the oracle computes it. Nothing else."""
    try:
        found = run(op, "cpu", Case(changed, case.differentiable))
    except ERRORS as error:
        names = inspect.signature(functions(op)[0]).parameters
        assert any(re.search(rf"\b{name}\b", str(error)) for name in names), f"no argument is named in: {error}"
        return False
    expected = run(op, "oracle", Case(changed, case.differentiable))
    for kind in ("outputs", "gradients"):
        for key, value in getattr(expected, kind).items():
            assert getattr(found, kind)[key].shape == value.shape
            np.testing.assert_allclose(getattr(found, kind)[key], value, rtol=1e-10, atol=1e-12)
    return True


@pytest.mark.parametrize("name, options", ALL, ids=label)
def test_wrong_types(name, options):
    op = OPS[name]
    arguments = draw(op, options=options).arguments
    for key in arrays(arguments):
        value = arguments[key]
        for wrong in (value.tolist(), value.astype(complex), value.astype(str), value.astype(object), "text", 3.5j):
            must_raise(op, {**arguments, key: wrong}, key)
        if value.dtype.kind == "f":
            for dtype in (np.float16, np.int64, np.bool_):
                must_raise(op, {**arguments, key: value.astype(dtype)}, key, TypeError)
        else:
            must_raise(op, {**arguments, key: value.astype(np.float64)}, key, TypeError)


@pytest.mark.parametrize("name, options", ALL, ids=label)
def test_mixed_precision_is_refused(name, options):
    """Never a silent conversion: one argument in float32 among float64 is an error that names one of them."""
    op = OPS[name]
    arguments = draw(op, options=options).arguments
    floats = arrays(arguments, "f")
    for key in floats if len(floats) > 1 else ():
        with pytest.raises(TypeError) as caught:
            forward(op, "cpu", {**arguments, key: arguments[key].astype(np.float32)})
        assert any(re.search(rf"\b{k}\b", str(caught.value)) for k in floats)


@pytest.mark.parametrize("name, options", ALL, ids=label)
def test_wrong_shapes(name, options):
    op = OPS[name]
    case = draw(op, options=options)
    with np.errstate(all="ignore"):
        for key in arrays(case.arguments):
            value = case.arguments[key]
            changes = [value[None], value.reshape(-1), value[:0], np.zeros((), value.dtype)]
            for axis in range(value.ndim):
                changes += [np.repeat(value, 2, axis), np.concatenate([value, value.take([0], axis)], axis)]
            for changed in changes:
                if changed.shape != value.shape:
                    refuses_or_agrees(op, case, {**case.arguments, key: changed})


ANY_SHAPE = {
    "embedding": "ids may have any shape, and so may the table",
    "rotary": "the tables may have more positions and turn fewer numbers than x has; test_rotary has what is refused",
}


@pytest.mark.parametrize("name", [name for name in OPS if name not in ANY_SHAPE])
def test_some_shape_is_refused(name):
    """Where several arrays must fit together, one that does not is refused (the test above alone would let all pass)."""
    op = OPS[name]
    case = draw(op)
    keys = arrays(case.arguments)
    for key in keys if len(keys) > 1 else ():
        value = case.arguments[key]
        grown = [np.concatenate([value, value.take([0], axis)], axis) for axis in range(value.ndim)]
        assert any(not refuses_or_agrees(op, case, {**case.arguments, key: changed}) for changed in grown), key


@pytest.mark.parametrize("name, options", ALL, ids=label)
def test_integers_out_of_range(name, options):
    """Ids and lengths index memory: every one that lies outside is refused, wherever it stands."""
    op = OPS[name]
    arguments = draw(op, options=options).arguments
    for key in arrays(arguments, "iu"):
        value = arguments[key]
        for position in {0, value.size - 1}:
            for wrong in (-1, 2**31 - 1, 10**6, -(2**31)):
                changed = value.copy()
                changed.reshape(-1)[position] = wrong
                must_raise(op, {**arguments, key: changed}, key, ValueError)
        if value.dtype == np.int64:
            for dtype in (np.int32, np.uint8, np.uint64):
                same = run(op, "cpu", Case({**arguments, key: value.astype(dtype)}, draw(op, options=options).differentiable))
                assert same.outputs


@pytest.mark.parametrize("name, options", ALL, ids=label)
def test_wrong_options(name, options):
    op = OPS[name]
    arguments = draw(op, options=options).arguments
    for key, value in arguments.items():
        if isinstance(value, str):
            must_raise(op, {**arguments, key: "no such choice"}, key)
        elif isinstance(value, float):
            for wrong in ("0.5", np.nan, np.zeros(2), 1j):
                must_raise(op, {**arguments, key: wrong}, key)


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_wrong_cotangents(name, options):
    op = OPS[name]
    for implementation in devices.HOST:
        y, saved = forward(op, implementation, draw(op, options=options).arguments)
        dy = cotangent(y)
        parts = list(dy) if isinstance(dy, tuple) else [dy]

        def refused(index, wrong, parts=parts, dy=dy, saved=saved, implementation=implementation):
            changed = [*parts[:index], wrong, *parts[index + 1 :]]
            with devices.implementation(implementation), pytest.raises(ERRORS) as caught:
                functions(op)[1](tuple(changed) if isinstance(dy, tuple) else wrong, saved)
            assert re.search(r"\bd\w+", str(caught.value)), f"no cotangent is named in: {caught.value}"

        for index, part in enumerate(parts):
            if not isinstance(part, np.ndarray):
                continue
            refused(index, part.astype(np.float32))
            refused(index, part.tolist() if part.ndim else "text")
            refused(index, part.astype(np.int64))
            refused(index, np.zeros((*part.shape, 2), part.dtype))
            for axis in range(part.ndim):
                refused(index, np.concatenate([part, part.take([0], axis)], axis))
        if isinstance(dy, tuple):
            with devices.implementation(implementation), pytest.raises(ERRORS):
                functions(op)[1](dy[:-1], saved)


@pytest.mark.parametrize("name, options", pytest_combinations(PAIRS), ids=label)
def test_a_missing_cotangent_means_zero(name, options):
    """Of several outputs, each may have None for its cotangent."""
    op = OPS[name]
    for implementation in devices.HOST:
        with devices.implementation(implementation):
            y, saved = functions(op)[0](**draw(op, options=options).arguments)
            dy = cotangent(y)
            if not isinstance(dy, tuple):
                return
            for index in range(len(dy)):
                absent = functions(op)[1]((*dy[:index], None, *dy[index + 1 :]), saved)
                zero = functions(op)[1]((*dy[:index], np.zeros_like(dy[index]), *dy[index + 1 :]), saved)
                for (_, a), (_, b) in zip(leaves(absent), leaves(zero), strict=True):
                    assert (a is None and b is None) or np.array_equal(a, b)


def test_the_options_reach_every_kind_of_argument():
    """The tests above walk what `draw` gives: integers, strings and numbers are among it."""
    kinds = set()
    for op in OPS.values():
        for options in combinations(op):
            for value in draw(op, options=options).arguments.values():
                kinds.add("id" if isinstance(value, np.ndarray) and not is_float(value) else type(value).__name__)
    assert {"id", "ndarray", "str", "float"} <= kinds
