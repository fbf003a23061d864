"""Weights and arrays of PyTorch: what fits is taken, and what does not says how it could."""

import numpy as np
import pytest

from minilm import layers, models, ops

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

KINDS = [("LSTM", (4, 6)), ("GRU", (4, 6)), ("RNN", (4, 6)), ("Linear", (4, 6)), ("LayerNorm", (4,)), ("Embedding", (4, 6))]


@pytest.mark.parametrize("kind, sizes", KINDS)
def test_state_dicts_go_both_ways(kind, sizes):
    module = getattr(torch.nn, kind)(*sizes)
    layer = getattr(layers, kind)(*sizes)
    layer.parameters.load_state_dict(module.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    x = x if kind != "Embedding" else np.arange(4)
    if kind in ("LSTM", "GRU", "RNN"):
        with torch.no_grad():
            wanted, ours = module(torch.from_numpy(x).transpose(0, 1))[0].transpose(0, 1).numpy(), layer(x)[0]
    else:
        wanted, ours = module(torch.from_numpy(x)).detach().numpy(), layer(x)
    np.testing.assert_allclose(ours, wanted, atol=1e-6)
    for value in layer.parameters.values():
        value *= 2
    module.load_state_dict({name: torch.from_numpy(value) for name, value in layer.parameters.state_dict().items()})
    assert all(np.array_equal(value.detach().numpy(), layer.parameters[name]) for name, value in module.named_parameters())


def test_tensors_are_refused_with_the_way_to_an_array():
    model = models.GPT(models.GPTConfig.gpt2(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=11))
    ids, x = torch.arange(8).reshape(2, 4), torch.ones(2, 4, requires_grad=True)
    for call in (
        lambda: model.forward(ids, ids),
        lambda: layers.Linear(4, 4).forward(x),
        lambda: ops.linear.forward(x, np.ones((3, 4), np.float32)),
        lambda: layers.Linear(2, 2).parameters.load_state_dict({"weight": x.to(torch.bfloat16), "bias": x}),
    ):
        with pytest.raises(TypeError, match=r"got a PyTorch tensor of shape \(2, 4\), of which x.detach\(\).* makes an array"):
            call()
