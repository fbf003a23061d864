"""The flat buffer: views, ties, moves into larger buffers, copies, saving and loading."""

import copy
import gc
import pickle

import numpy as np
import pytest

from minilm.layers import Embedding, Layer, Linear, Parameter, Parameters


class Two(Layer):
    """Two affine maps, the second of which may share the first one's table."""

    def __init__(self, tied=False, seed=0):
        generator = np.random.default_rng(seed)
        super().__init__(seed=generator)
        self.embedding = Embedding(7, 5, seed=generator)
        self.stack = [Linear(5, 3, seed=generator), Linear(3, 5, seed=generator)]
        self.output = Linear(5, 7, weight=self.embedding.weight if tied else None, seed=generator)


def snapshot(parameters):
    return {name: array.copy() for name, array in parameters.items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_views_cover_the_buffer_and_do_not_overlap():
    model = Two()
    before = snapshot(model.parameters)
    parameters = model.parameters
    flat, gradient = parameters.flat, parameters.gradient_flat
    assert same(before, snapshot(parameters))
    assert flat.shape == gradient.shape and flat.dtype == np.float32 and flat.ctypes.data % 64 == 0
    flat[...] = -1
    for number, (name, view) in enumerate(parameters.items()):
        assert np.shares_memory(view, flat) and view.ctypes.data % 64 == 0 and (view == -1).all()
        view[...] = number
        assert np.shares_memory(parameters.gradients[name], gradient)
        parameters.gradients[name][...] = number
    for number, name in enumerate(parameters):
        assert (parameters[name] == number).all() and (parameters.gradients[name] == number).all()
    assert sum(array.size for array in parameters.values()) == parameters.count == 35 + 18 + 20 + 42
    assert list(parameters) == [
        "embedding.weight",
        "stack.0.weight",
        "stack.0.bias",
        "stack.1.weight",
        "stack.1.bias",
        "output.weight",
        "output.bias",
    ]
    assert len(parameters) == 7 and parameters.shapes["stack.1.weight"] == (5, 3)
    parameters.zero_gradients()
    assert not parameters.gradient_flat.any()


def test_gaps_are_zero():
    parameters = Two().parameters
    inside = np.zeros(parameters.flat.size, bool)
    for view in parameters.split(inside).values():
        view[...] = True
    assert (~inside).any() and not parameters.flat[~inside].any()


def test_a_child_has_a_slice_of_its_parents_buffer():
    model = Two()
    flat = model.parameters.flat
    child = model.stack[1].parameters
    assert np.shares_memory(child.flat, flat) and list(child) == ["weight", "bias"]
    child.flat[:15] = 3
    assert (model.parameters["stack.1.weight"] == 3).all()
    assert model.parameters.flat is not None and np.shares_memory(model.parameters.flat, flat)  # nothing moved


def test_a_parent_takes_over_the_buffers_of_its_children():
    model = Two()
    child = model.stack[0].parameters
    child.flat[...] += 1
    child.gradients["bias"][...] = 2
    values = snapshot(model.parameters)
    flat = model.parameters.flat
    assert same(values, snapshot(model.parameters))
    assert np.shares_memory(child.flat, flat)  # also seen by who asked before
    assert (model.parameters.gradients["stack.0.bias"] == 2).all()


def test_tied_weights_are_one():
    model = Two(tied=True)
    parameters = model.parameters
    assert "output.weight" not in list(parameters) and parameters.aliases == {"output.weight": "embedding.weight"}
    assert parameters["output.weight"] is parameters["embedding.weight"]
    assert parameters.count == 35 + 18 + 20 + 7
    assert "output.weight" not in parameters.state_dict()
    parameters.flat[:35] = 4
    assert (model.output.weight.value == 4).all()
    with pytest.raises(ValueError, match="tied"):
        _ = model.output.parameters.flat  # its weight and its bias lie apart
    assert np.shares_memory(model.parameters.flat, parameters.flat)


def test_tying_after_the_buffer_was_made():
    model = Two()
    before = model.parameters.flat
    model.output.weight = model.embedding.weight
    gc.collect()
    parameters = model.parameters
    assert parameters.flat.size < before.size and parameters.count == 35 + 18 + 20 + 7


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("bound", [True, False])
def test_copies_stand_alone_and_keep_ties(copied, bound):
    model = Two(tied=True)
    if bound:
        model.parameters.gradient_flat[...] = 5
    other = copied(model)
    assert same(snapshot(model.parameters), snapshot(other.parameters))
    assert other.output.weight is other.embedding.weight
    assert not np.shares_memory(model.parameters.flat, other.parameters.flat)
    if bound:
        assert (other.parameters.gradients["stack.0.bias"] == 5).all()
    other.parameters.flat[...] = 0
    assert model.parameters.flat.any()
    part = copied(model.output)  # a part of a tied model, alone
    assert part.parameters.flat.size >= 42


def test_to_converts_values_and_gradients_and_keeps_ties():
    model = Two(tied=True)
    before = snapshot(model.parameters)
    model.parameters.gradient_flat[...] = 2
    assert model.to(np.float64) is model
    assert model.dtype == np.float64 and model.output.dtype == np.float64
    assert model.parameters.flat.dtype == np.float64 and model.output.weight is model.embedding.weight
    assert same(before, snapshot(model.parameters)) and (model.parameters.gradients["output.bias"] == 2).all()
    with pytest.raises(TypeError, match="int32"):
        model.to(np.int32)
    model.stack[0].to(np.float32)
    with pytest.raises(ValueError, match="one dtype"):
        _ = model.parameters.flat


def test_state_dict_round_trip():
    model, other = Two(tied=True, seed=1), Two(tied=True, seed=2)
    state = model.parameters.state_dict()
    other.parameters.load_state_dict(state)
    assert same(state, snapshot(other.parameters))
    state["stack.0.bias"][...] = 9  # copies
    assert not same(state, snapshot(model.parameters)) and not same(state, snapshot(other.parameters))
    under_the_other_name = {k.replace("embedding.", "output."): v for k, v in model.parameters.state_dict().items()}
    Two(tied=True).parameters.load_state_dict(under_the_other_name)
    both = {**model.parameters.state_dict(), "output.weight": model.embedding.weight.value}
    Two(tied=True).parameters.load_state_dict(both)
    both["output.weight"] = both["output.weight"] + 1
    with pytest.raises(ValueError, match="output.weight differs from embedding.weight"):
        Two(tied=True).parameters.load_state_dict(both)


def test_a_wrong_state_is_refused_whole():
    model = Two()
    before = snapshot(model.parameters)
    state = Two(seed=3).parameters.state_dict()
    del state["stack.0.bias"]
    state["stack.9.weight"] = np.zeros(3, np.float32)
    state["output.bias"] = np.zeros(8, np.float32)
    state["output.weight"] = np.zeros((7, 5), np.int64)
    with pytest.raises(ValueError) as caught:
        model.parameters.load_state_dict(state)
    message = str(caught.value)
    for part in ("missing stack.0.bias", "unexpected stack.9.weight", "output.bias has shape (8,), wanted (7,)", "int64"):
        assert part in message
    assert same(before, snapshot(model.parameters))


def test_unknown_names_and_wrong_values():
    model = Two()
    with pytest.raises(KeyError, match="no parameter 'nothing'"):
        model.parameters["nothing"]
    with pytest.raises(ValueError, match=r"shape \(7, 5\)"):
        model.embedding.weight.value = np.zeros(3)
    with pytest.raises(TypeError, match="int64"):
        Parameter(np.zeros(3, np.int64))


def test_no_parameters_at_all():
    parameters = Parameters([])
    assert parameters.flat.size == 0 and parameters.count == 0 and len(parameters) == 0


def test_accumulate_adds():
    parameter = Parameter(np.zeros((300, 1000)))
    rng = np.random.default_rng(0)
    addend = rng.standard_normal((300, 1000))
    parameter.accumulate(addend)
    parameter.accumulate(addend)
    assert np.array_equal(parameter.gradient, addend + addend) and not parameter.value.any()


def test_the_first_values_follow_the_seed():
    assert same(snapshot(Two(seed=5).parameters), snapshot(Two(seed=5).parameters))
    assert not same(snapshot(Two(seed=5).parameters), snapshot(Two(seed=6).parameters))
    assert not np.array_equal(Linear(5, 3).weight.value, Linear(5, 3).weight.value)
    for seed in (-1, 1.5, "0", True):
        with pytest.raises(TypeError, match="seed must be"):
            Linear(5, 3, seed=seed)


def test_picture():
    text = repr(Two(tied=True))
    assert "tied to embedding.weight" in text and "80 parameters" in text and "stack.1: Linear(3, 5)" in text
    assert "7 × 5" in text and repr(Linear(5, 3)) == "Linear(5, 3)"


def test_a_parameter_of_two_models_is_moved_to_the_one_that_asks():
    shared, *own = (Parameter(np.full(3, float(i))) for i in range(3))
    first, second = (Parameters([("own", each), ("shared", shared)], shared=True) for each in own)
    for _ in range(2):
        for model in (first, second):
            model.flat[model.slices()["shared"]][:3] += 1  # what the one has written, the other reads
            shared.accumulate(np.ones(3))
            np.testing.assert_array_equal(model.gradients["shared"], np.ones(3))
            assert np.shares_memory(model.gradient_flat, shared.gradient)
            model.zero_gradients()
    assert second["shared"].tolist() == first["shared"].tolist() == [4.0] * 3
    assert [each.value.tolist() for each in own] == [[1.0] * 3, [2.0] * 3]
    with pytest.raises(ValueError, match="scattered in the buffer of a larger model"):
        _ = Parameters([("shared", shared), ("other", Parameter(np.zeros(2)))]).flat
