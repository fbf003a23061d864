"""A mixture of experts: its gradient, the router's too, by differences; beside transformers' Mixtral block."""

import numpy as np
import pytest

import minilm
from minilm.layers.mixture_of_experts import MixtureOfExperts


def drawn(dtype=np.float64, D=6, F=5, E=4, k=2):
    layer, rng = MixtureOfExperts(D, F, E, k, dtype=dtype, seed=0), np.random.default_rng(1)
    for value in layer.parameters.values():
        value[...] = rng.standard_normal(value.shape)
    return layer, rng.standard_normal((2, 7, D)).astype(dtype)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_gradients_by_differences(k):
    layer, x = drawn(k=k)
    report = minilm.gradcheck(layer, x)
    assert report.passed, str(report)
    if k > 1:
        y, saved = layer.forward(x)
        layer.backward(np.cos(y), saved)
        assert layer.gate.weight.gradient.any()


def test_an_expert_that_nobody_chooses_learns_nothing():
    layer, x = drawn()
    x, layer.gate.weight.value[3] = np.abs(x), -100
    y, saved = layer.forward(x)
    layer.backward(np.ones_like(y), saved)
    assert not layer.experts[3].up_proj.weight.gradient.any() and not layer.gate.weight.gradient[3].any()


def test_beside_mixtral():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.models.mixtral import modeling_mixtral

    layer, x = drawn(np.float32)
    sizes = {"hidden_size": 6, "intermediate_size": 5, "num_local_experts": 4, "num_experts_per_tok": 2}
    theirs = modeling_mixtral.MixtralSparseMoeBlock(transformers.MixtralConfig(**sizes, experts_implementation="eager"))
    state = {"gate.weight": layer.gate.weight.value}
    if not hasattr(getattr(theirs, "experts", None), "gate_up_proj"):
        pytest.skip("this transformers keeps the experts' weights otherwise")
    both = [np.concatenate([each.gate_proj.weight.value, each.up_proj.weight.value]) for each in layer.experts]
    state |= {"experts.gate_up_proj": np.stack(both)}
    state |= {"experts.down_proj": np.stack([each.down_proj.weight.value for each in layer.experts])}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    inputs = torch.tensor(x, requires_grad=True)
    wanted = theirs(inputs)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    y, saved = layer.forward(x)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)
    dy = np.cos(y)
    dx = layer.backward(dy, saved)
    wanted.backward(torch.tensor(dy))
    np.testing.assert_allclose(dx, inputs.grad.numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.gate.weight.gradient, theirs.gate.weight.grad.numpy(), rtol=1e-3, atol=1e-4)
