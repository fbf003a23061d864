"""Optimizers that go on, and what they refuse: states, gradients that are not finite, models that changed, wrong settings."""

import numpy as np
import pytest

from minilm import optimizers
from tests.optimizers.test_optimizers import RULES, Net, give


@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_run_repeats_the_undisturbed_one_bit_for_bit(rule):
    kind, settings, ours_only = RULES[rule]
    model, resumed = Net(np.float32), Net(np.float32, seed=9)
    first = getattr(optimizers, kind)(model.parameters, 0.05, **settings, **ours_only)
    for step in range(4):
        give(model.parameters, step)
        first.step()
    state = first.state_dict()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    resumed.parameters.load_state_dict(model.parameters.state_dict())
    second = getattr(optimizers, kind)(resumed.parameters, 0.05, **settings, **ours_only)
    second.load_state_dict(state)
    for step in range(4, 8):
        for optimizer in (first, second):
            give(optimizer.parameters, step)
            optimizer.step()
    assert model.parameters.flat.tobytes() == resumed.parameters.flat.tobytes()
    assert first.steps == second.steps == 8


def test_a_wrong_state_is_refused_whole():
    adam = optimizers.Adam(Net().parameters, 0.1)
    state = adam.state_dict()
    give(adam.parameters, 0)
    adam.step()
    held = adam.state_dict()
    del state["m.first.bias"]
    state["u.first.bias"] = np.zeros(11)
    state["v.second.bias"] = np.zeros(4)
    state["v.first.bias"] = np.zeros(11, np.float32)
    with pytest.raises(ValueError) as caught:
        adam.load_state_dict(state)
    for part in ("missing m.first.bias", "unexpected u.first.bias", "v.second.bias is", "v.first.bias is"):
        assert part in str(caught.value)
    assert all(np.array_equal(held[name], array) for name, array in adam.state_dict().items())
    with pytest.raises(ValueError, match="steps"):
        adam.load_state_dict({**held, "steps": np.array(-1)})


def test_gradients_that_are_not_finite_change_nothing():
    for bad in (np.nan, np.inf):
        model = Net()
        adam = optimizers.Adam(model.parameters, 0.1, clip_norm=1.0)
        give(model.parameters, 0)
        model.parameters.gradients["second.bias"][1] = bad
        before, state = model.parameters.flat.copy(), adam.state_dict()
        with pytest.raises(FloatingPointError):
            adam.step()
        assert np.array_equal(before, model.parameters.flat)
        assert all(np.array_equal(state[name], array) for name, array in adam.state_dict().items())
        assert not model.parameters.gradient_flat.any()  # or the next step would have them too


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_update_that_does_not_finish_leaves_no_gradients(error, monkeypatch):
    def interrupted(self, flat, gradient, *state, **options):
        gradient[: len(gradient) // 2] = 0
        raise error

    model = Net()
    adam = optimizers.Adam(model.parameters, 0.1)
    give(model.parameters, 0)
    monkeypatch.setattr(optimizers.Adam, "_update", interrupted)
    with pytest.raises(error):
        adam.step()
    assert not model.parameters.gradient_flat.any() and adam.steps == 0
    give(model.parameters, 0)
    with pytest.raises(TypeError):
        adam.step("fast")  # a wrong argument is no step: the gradients wait for the right one
    assert model.parameters.gradient_flat.any()


def test_a_norm_that_is_known_is_not_computed_again():
    model, other = Net(), Net()
    for each, norm in ((model, None), (other, np.float64(4.0))):
        give(each.parameters, 0)
        if norm is not None:
            each.parameters.gradient_flat[...] *= norm / np.linalg.norm(each.parameters.gradient_flat)
        optimizers.SGD(each.parameters, 0.1, clip_norm=2.0).step(norm=norm)
    np.testing.assert_allclose(model.parameters.flat, other.parameters.flat, rtol=1e-5, atol=1e-7)


def test_a_model_that_changed_is_refused():
    model = Net()
    adam = optimizers.Adam(model.parameters, 0.1)
    model.to(np.float32)
    with pytest.raises(ValueError, match="float64 on cpu then.*float32 on cpu now"):
        adam.step()


def test_an_optimizer_of_a_part_survives_the_buffer_of_the_whole():
    model = Net()
    sgd = optimizers.SGD(model.second.parameters, 1.0)
    flat = model.parameters.flat
    before = flat.copy()
    give(sgd.parameters, 0)
    sgd.step()
    assert np.array_equal(model.first.weight.value, Net().first.weight.value)
    assert not np.array_equal(model.second.weight.value, Net().second.weight.value) and not np.array_equal(flat, before)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda p: optimizers.Adam(p, -1.0), ValueError, "lr"),
        (lambda p: optimizers.Adam(p, 0.1, betas=(0.9, 1.0)), ValueError, r"betas\[1\]"),
        (lambda p: optimizers.SGD(p, 0.1, nesterov=True), ValueError, "nesterov"),
        (lambda p: optimizers.AdamW(p, 0.1, decay="some"), ValueError, "decay"),
        (lambda p: optimizers.AdamW(p, 0.1, clip_norm=0), ValueError, "clip_norm"),
        (lambda p: optimizers.Adam(dict(p), 0.1), TypeError, "model.parameters"),
        (lambda p: optimizers.Adam(p, 0.1).step(float("nan")), ValueError, "lr"),
    ],
)
def test_wrong_settings(make, error, message):
    with pytest.raises(error, match=message):
        make(Net().parameters)
