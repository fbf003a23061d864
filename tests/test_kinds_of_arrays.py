"""Arrays in the other byte order, and lists in the place of arrays: every op, layer and model computes the same of them, or says
in one line which argument must be an array."""

import functools
import inspect

import numpy as np
import pytest

from minilm import optimizers
from minilm.gradcheck.cases import LAYERS, MODELS
from minilm.gradcheck.trees import copied, leaves
from tests.ops.properties import OPS, combinations, cotangent, draw, functions


def other_order(value):
    """The same numbers in the byte order that this machine has not."""
    return value.astype(value.dtype.newbyteorder()) if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" else value


def same(found, wanted):
    found, wanted = dict(leaves(found)), dict(leaves(wanted))
    assert found.keys() == wanted.keys()
    for path, value in wanted.items():  # of small arrays a compiler's sums depend on how near to one another they lie
        if value is not None:
            np.testing.assert_allclose(found[path], value, rtol=1e-12, atol=1e-14, err_msg=path)


def check(run, arguments):
    """`run(arguments, order)` with each array of `arguments`, and with the cotangents, in the other order, and as a list."""
    wanted = run(arguments, lambda value: value)
    same(run(arguments, other_order), wanted)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            same(run({**arguments, name: other_order(value)}, lambda value: value), wanted)
            try:
                found = run({**arguments, name: value.tolist()}, lambda value: value)
            except TypeError as error:
                assert name in str(error) and "array" in str(error) and "\n" not in str(error)
            else:
                same(found, wanted)


def cotangents(y, order):
    dy = cotangent(y)
    return tuple(map(order, dy)) if isinstance(dy, tuple) else order(dy)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.backward])
def test_ops(name):
    forward, backward = functions(OPS[name])

    def run(arguments, order):
        y, saved = forward(**arguments)
        return copied((y, backward(cotangents(y, order), saved)))

    for options in (combinations(OPS[name])[0], combinations(OPS[name])[-1]):
        check(run, draw(OPS[name], options=options).arguments)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.updates])
def test_updates(name):
    """What is written in place cannot be converted: an update of a copy would be lost."""
    op = OPS[name]
    forward, _ = functions(op)
    case = draw(op)

    def run(changed):
        arguments = {key: copied(value) for key, value in {**case.arguments, **changed}.items()}
        return forward(**arguments), {key: arguments[key] for key in op.updates}

    for key, value in case.arguments.items():
        if not isinstance(value, np.ndarray):
            continue
        if key not in op.updates or (key == "grad" and not case.arguments["clear"]):
            same(run({key: other_order(value)}), run({}))
            continue
        with pytest.raises(ValueError, match=rf"^{key} is written in place and must be .* byte order, got .*>f8$"):
            forward(**{**case.arguments, key: other_order(value)})


@functools.cache
def labels(cases) -> list[str]:
    """Those of the cases that have the most arguments, and the first."""
    return sorted({cases[0], *cases[-2:]})


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
def test_layers_and_models(name):
    cases = {**LAYERS, **MODELS}[name]
    for label in labels(tuple(cases)):
        thing, inputs, options = cases[label]()
        takes_saved = next(iter(inspect.signature(thing.backward).parameters)) == "saved"

        def run(arguments, order, thing=thing, takes_saved=takes_saved):
            if hasattr(thing, "parameters"):
                thing.parameters.zero_gradients()
            y, saved = thing.forward(**arguments)
            gradients = thing.backward(saved) if takes_saved else thing.backward(cotangents(y, order), saved)
            return copied((y, gradients, getattr(getattr(thing, "parameters", None), "gradient_flat", None)))

        bound = inspect.signature(thing.forward).bind(*inputs, **options).arguments
        named = bound.pop("options", {})  # where forward takes **options
        check(run, {**bound, **named})


def test_weights_and_gradients_are_this_machine_s():
    """What is assigned from the other order is kept in this one, so that an optimizer can write it."""
    from minilm import layers

    layer = layers.Linear(3, 2, dtype=np.float64, seed=0)
    before = layer.weight.value.copy()
    layer.weight.value = other_order(before)
    assert layer.weight.value.dtype.isnative
    np.testing.assert_array_equal(layer.weight.value, before)
    layer.weight.accumulate(other_order(np.ones((2, 3))))
    optimizers.SGD(layer.parameters, lr=1.0).step()
    np.testing.assert_array_equal(layer.weight.value, before - 1)
