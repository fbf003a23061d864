"""Optimizers over the flat buffer: agreement with PyTorch, groups, clipping, saving, resuming."""

import numpy as np
import pytest

from minilm import ops, optimizers
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


@pytest.mark.parametrize("frozen", [None, "first.bias"])
def test_groups_of_adam_are_updated_in_one_call(frozen, monkeypatch):
    """Weights and biases of different decay and rate have the bits that a call for each of them gives."""
    from minilm.optimizers.base import Optimizer

    def trained():
        model = Net(np.float32)
        rates = {"second.weight": 0.02}
        options = {"weight_decay": 0.3, "decay": "matrices", "trainable": lambda name: name != frozen, "clip_norm": 1.0}
        adam = optimizers.AdamW(model.parameters, lambda name: rates.get(name, 0.05), **options)
        for step in range(3):
            give(model.parameters, step)
            adam.step()
        return model.parameters.state_dict(), adam.state_dict()

    calls, step = [], ops.adam.step
    monkeypatch.setattr(ops.adam, "step", lambda *arrays, **options: (calls.append(1), step(*arrays, **options)))
    together = trained()
    assert len(calls) == (3 if frozen is None else 9)
    monkeypatch.setattr(optimizers.Adam, "_update_groups", Optimizer._update_groups)
    for found, wanted in zip(together, trained(), strict=True):
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


class Empty(Net):
    """A matrix of no numbers comes first, between weights whose groups differ."""

    def __init__(self):
        super().__init__(np.float32)
        self.parameter("nothing", (3, 0), lambda generator, shape: np.zeros(shape))


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Lion", "Muon"])
def test_a_matrix_of_no_numbers_is_no_group(kind):
    model = Empty()
    before = model.parameters.state_dict()
    optimizer = getattr(optimizers, kind)(model.parameters, 0.1, weight_decay=0.1, decay="matrices")
    give(model.parameters, 0)
    optimizer.step()
    assert all((before[name] != value).all() for name, value in model.parameters.items())


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
