"""Each named layer of each model is seen by hooks, and can be replaced: in the cases of `minilm gradcheck`."""

import warnings

import numpy as np
import pytest

import minilm
from minilm.gradcheck.cases import MODELS
from minilm.layers import Layer

CASES = [(name, label) for name, cases in MODELS.items() for label in cases]


def case(name, label):
    """The model, and its loss with what backward needs."""
    module, inputs, options = MODELS[name][label]()
    model = module if isinstance(module, Layer) else module.model
    return model, lambda: module.forward(*inputs, **options)


@pytest.mark.parametrize(("name", "label"), CASES)
def test_each_layer_is_seen_in_both_directions(name, label):
    model, forward = case(name, label)
    before = forward()[0]
    with minilm.hooks(model) as seen:
        loss, saved = forward()
        model.backward(saved)
    assert loss == before
    assert set(seen) == set(seen.gradients) == {layer for layer, _ in model.named_layers() if layer}


@pytest.mark.parametrize(("name", "label"), CASES)
def test_each_layer_is_replaced(name, label):
    model, forward = case(name, label)
    before = forward()[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing ran through it
        for layer in [layer for layer, _ in model.named_layers() if layer]:
            with minilm.hooks(model, [], outputs={layer: 0.3}):
                assert np.isfinite(forward()[0]) and forward()[0] != before, layer
