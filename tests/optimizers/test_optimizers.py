"""Optimizers over the flat buffer: agreement with PyTorch, groups, clipping, saving, resuming."""

import numpy as np
import pytest

from minilm import optimizers
from minilm.layers import Layer, Linear

STEPS = 20


class Net(Layer):
    def __init__(self, dtype=np.float64, seed=0):
        generator = np.random.default_rng(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.first = Linear(5, 11, dtype=dtype, seed=generator)
        self.second = Linear(11, 3, dtype=dtype, seed=generator)


def gradients(parameters, step):
    rng = np.random.default_rng([7, step])
    return {name: rng.standard_normal(shape).astype(parameters.dtype) for name, shape in parameters.shapes.items()}


def give(parameters, step):
    for name, gradient in gradients(parameters, step).items():
        parameters.gradients[name][...] += gradient


RULES = {
    "sgd": ("SGD", {"weight_decay": 0.1}, {}),
    "momentum": ("SGD", {"momentum": 0.9, "dampening": 0.3}, {}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}, {}),
    "adam": ("Adam", {"betas": (0.8, 0.95)}, {}),
    "adam_decay": ("Adam", {"weight_decay": 0.1}, {}),
    "amsgrad": ("Adam", {"amsgrad": True}, {}),
    "adamw": ("AdamW", {}, {}),
    "adamw_decay": ("AdamW", {"weight_decay": 0.3, "eps": 1e-3}, {}),
    "clipped": ("AdamW", {"weight_decay": 0.3}, {"clip_norm": 2.0}),
    "rmsprop": ("RMSprop", {"weight_decay": 0.1}, {}),
    "rmsprop_centered": ("RMSprop", {"centered": True, "momentum": 0.9, "alpha": 0.9, "eps": 1e-3}, {}),
    "matrices": ("AdamW", {"weight_decay": 0.3}, {"decay": "matrices"}),
}


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("rule", RULES)
def test_agrees_with_torch(rule, dtype, tolerance):
    torch = pytest.importorskip("torch")
    kind, settings, ours_only = RULES[rule]
    model = Net(dtype)
    ours = getattr(optimizers, kind)(model.parameters, 0.05, **settings, **ours_only)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.state_dict().items()}
    groups = list(tensors.values())
    if ours_only.get("decay") == "matrices":
        groups = [
            {"params": [t for t in groups if t.ndim > 1], "weight_decay": 0.3},
            {"params": [t for t in groups if t.ndim == 1], "weight_decay": 0.0},
        ]
    theirs = getattr(torch.optim, kind)(groups, lr=0.05, **settings)
    for step in range(STEPS):
        lr = 0.05 / (1 + step)
        give(model.parameters, step)
        for name, gradient in gradients(model.parameters, step).items():
            tensors[name].grad = torch.tensor(gradient)
        if "clip_norm" in ours_only:
            wanted = torch.nn.utils.clip_grad_norm_(tensors.values(), ours_only["clip_norm"])
        for group in theirs.param_groups:
            group["lr"] = lr
        theirs.step()
        norm = ours.step(lr)
        assert not model.parameters.gradient_flat.any()
        if "clip_norm" in ours_only:
            assert norm == pytest.approx(float(wanted), rel=1e-6)
        else:
            assert norm is None
    for name, value in model.parameters.items():
        wanted = tensors[name].detach().numpy()
        assert value.dtype == dtype
        assert np.abs(value - wanted).max() <= tolerance * np.abs(wanted).max()


def test_groups_by_name():
    model, plain = Net(), Net()
    decayed = optimizers.SGD(model.parameters, 0.1, weight_decay=0.5, decay=lambda name: name.startswith("second"))
    undecayed = optimizers.SGD(plain.parameters, 0.1)
    for step in range(3):
        for optimizer in (decayed, undecayed):
            give(optimizer.parameters, step)
            optimizer.step()
    for name in model.parameters:
        assert np.array_equal(model.parameters[name], plain.parameters[name]) == name.startswith("first")


@pytest.mark.parametrize(("size", "ns_steps"), [("match_rms_adamw", 5), ("original", 5), ("original", 3)])
def test_muon_agrees_with_torch(size, ns_steps, monkeypatch):
    """PyTorch's computes in bfloat16, here in float64."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    model = Net()
    ours = optimizers.Muon(model.parameters, 0.05, size=size, ns_steps=ns_steps, betas=(0.9, 0.999), weight_decay=0.2)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.state_dict().items()}
    matrices, others = [t for t in tensors.values() if t.ndim == 2], [t for t in tensors.values() if t.ndim == 1]
    theirs = (
        torch.optim.Muon(matrices, lr=0.05, weight_decay=0.2, adjust_lr_fn=size, ns_steps=ns_steps),
        torch.optim.AdamW(others, lr=0.05, weight_decay=0.2),
    )
    for step in range(STEPS):
        give(model.parameters, step)
        for name, gradient in gradients(model.parameters, step).items():
            tensors[name].grad = torch.tensor(gradient)
        ours.step()
        for each in theirs:
            each.step()
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, tensors[name].detach().numpy(), rtol=1e-9, atol=1e-9, err_msg=name)


def test_muon_leaves_tables_and_output_layers_to_adam():
    names = [
        "wte.weight",
        "embed_tokens.weight",
        "lm_head.weight",
        "bert.embeddings.word_embeddings.weight",
        "cls.decoder.weight",
    ]
    assert not any(map(optimizers.muon.inner_matrices, names))
    assert all(
        map(optimizers.muon.inner_matrices, ["h.0.attn.c_attn.weight", "layers.1.mlp.up_proj.weight", "lstm.weight_hh_l0"])
    )


def test_lion_is_its_program():
    model = Net()
    lion = optimizers.Lion(model.parameters, 0.05, betas=(0.8, 0.9), weight_decay=0.3)
    wanted, m = {k: v.copy() for k, v in model.parameters.items()}, dict.fromkeys(model.parameters, 0.0)
    for step in range(5):
        give(model.parameters, step)
        lion.step()
        for name, g in gradients(model.parameters, step).items():
            wanted[name] = wanted[name] - 0.05 * (np.sign(0.8 * m[name] + 0.2 * g) + 0.3 * wanted[name])
            m[name] = 0.9 * m[name] + 0.1 * g
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-12)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop", "Lion", "Muon"])
def test_rates_by_name_and_frozen_parameters(kind):
    """Each group as if the others were not there, through a schedule; what is frozen counts in no norm."""
    rates = {"first.weight": 0.1, "first.bias": 0.1, "second.weight": 0.02, "second.bias": 0.04}

    def run(lr, **options):
        model = Net()
        optimizer = getattr(optimizers, kind)(model.parameters, lr, weight_decay=0.1, **options)
        for step in range(3):
            give(model.parameters, step)
            norm = optimizer.step(optimizer.lr / (1 + step))
        return model.parameters, optimizer, norm

    mixed, optimizer, _ = run(rates.get)
    assert optimizer.lr == 0.1
    for name, rate in rates.items():
        np.testing.assert_allclose(mixed[name], run(rate)[0][name], rtol=1e-12)
    frozen, _, norm = run(0.1, trainable=lambda name: name.startswith("second"), clip_norm=1.0)
    assert np.array_equal(frozen["first.weight"], Net().parameters["first.weight"])
    own = [g for name, g in gradients(frozen, 2).items() if name.startswith("second")]
    assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in own)))
    assert not frozen.gradient_flat.any()


def test_decay_by_name_may_be_a_factor():
    half, whole = Net(), Net()
    optimizers.AdamW(half.parameters, 0.1, weight_decay=0.4, decay=lambda name: 0.5).step()
    optimizers.AdamW(whole.parameters, 0.1, weight_decay=0.2).step()
    assert np.array_equal(half.parameters.flat, whole.parameters.flat)


def test_gaps_stay_zero():
    model = Net()
    adam = optimizers.AdamW(model.parameters, 0.1, weight_decay=0.1, clip_norm=1.0)
    inside = np.zeros(model.parameters.flat.size, bool)
    for view in model.parameters.split(inside).values():
        view[...] = True
    for step in range(3):
        give(model.parameters, step)
        adam.step()
    assert (~inside).any() and not model.parameters.flat[~inside].any()


def test_gradients_of_micro_batches_add_up():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((12, 5)), rng.standard_normal((12, 3))
    layer, other = Linear(5, 3, dtype=np.float64, seed=0), Linear(5, 3, dtype=np.float64, seed=0)
    _, saved = layer.forward(x)
    layer.backward(dy, saved)
    for part in (slice(0, 4), slice(4, 12)):
        _, saved = other.forward(x[part])
        other.backward(dy[part], saved)
    for name, gradient in layer.parameters.gradients.items():
        assert np.allclose(other.parameters.gradients[name], gradient, rtol=1e-13, atol=1e-13) and gradient.any()


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


def test_clip_gradients():
    parameters = Net().parameters
    give(parameters, 0)
    before = parameters.gradient_flat.copy()
    norm = optimizers.clip_gradients(parameters, 1e9)
    assert norm == pytest.approx(np.linalg.norm(before)) and np.array_equal(before, parameters.gradient_flat)
    assert optimizers.clip_gradients(parameters, 0.5) == pytest.approx(norm)
    assert np.linalg.norm(parameters.gradient_flat) == pytest.approx(0.5, rel=1e-5)
    assert np.allclose(parameters.gradient_flat * norm, before * 0.5, rtol=1e-4)


def test_weight_average():
    model = Net()
    average = optimizers.WeightAverage(model.parameters, decay=0.75)
    with pytest.raises(ValueError, match="no average"), average.applied():
        pass
    rng = np.random.default_rng(0)
    wanted = np.zeros(model.parameters.flat.size)
    for t in range(1, 9):
        for view in model.parameters.values():
            view[...] = rng.standard_normal(view.shape)
        average.update()
        wanted += max(0.25, 1 / t) * (model.parameters.flat - wanted)
    own = model.parameters.flat.copy()
    with average.applied():
        assert np.allclose(model.parameters.flat, wanted, rtol=1e-13) and not np.allclose(wanted, own)
    assert np.array_equal(model.parameters.flat, own)
    other = optimizers.WeightAverage(Net(seed=4).parameters, decay=0.75)
    other.load_state_dict(average.state_dict())
    with other.applied():
        assert np.allclose(other.parameters.flat, wanted, rtol=1e-13)
    with pytest.raises(ValueError, match="missing updates"):
        other.load_state_dict({})
    other.put_in()
    assert np.allclose(other.parameters.flat, wanted, rtol=1e-13)
    fresh = Net(seed=4).parameters
    before = fresh.flat.copy()
    optimizers.WeightAverage(fresh).put_in()  # without an update there is nothing to put in
    assert np.array_equal(fresh.flat, before)
