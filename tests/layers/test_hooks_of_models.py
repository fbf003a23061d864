"""Each named layer of each model is seen by hooks, and can be replaced: in the cases of `minilm gradcheck`."""

import fnmatch
import warnings

import pytest

import minilm
from minilm.gradcheck.cases import MODELS
from minilm.layers import Layer

CASES = [(name, label) for name, cases in MODELS.items() for label in cases]
IDLE = {  # layers that a case has no use for
    ("BERTForPreTraining", "masked words alone"): ("cls.seq_relationship", "bert.pooler*"),
    ("BERTClassifier", "cls"): ("pooling",),
    ("Llama", "mixtral"): ("layers.0.mlp.experts.0*",),  # no token is routed there
}


@pytest.fixture(autouse=True)
def oracle():
    """Nothing is to be compiled for what layers call each other with."""
    with minilm.implementation("oracle"):
        yield


def case(name, label):
    """A model, its loss as a function, and the names of the layers that compute something."""
    module, inputs, options = MODELS[name][label]()
    model = module if isinstance(module, Layer) else module.model
    names = {
        path
        for path, layer in model.named_layers()
        if path
        and (type(layer).forward is not Layer.forward or hasattr(layer, "attend"))
        and not any(fnmatch.fnmatch(path, idle) for idle in IDLE.get((name, label), ()))
    }
    return model, lambda: module.forward(*inputs, **options), names


@pytest.mark.parametrize(("name", "label"), CASES)
def test_each_layer_is_seen_in_both_directions(name, label):
    model, forward, names = case(name, label)
    before = forward()[0]
    with minilm.hooks(model) as seen:
        loss, saved = forward()
        model.backward(saved)
    assert loss == before and names <= set(seen) and names <= set(seen.gradients), names - (set(seen) & set(seen.gradients))


@pytest.mark.parametrize(("name", "label"), CASES)
def test_each_layer_is_replaced(name, label):
    model, forward, names = case(name, label)
    before = forward()[0]
    for layer in names:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # that nothing ran through it
            with minilm.hooks(model, [], outputs={layer: 0.3}):
                assert forward()[0] != before, layer
