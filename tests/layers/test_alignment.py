"""Bahdanau's and Luong's attention against the same written in PyTorch, masks, and what they refuse."""

import numpy as np
import pytest

from minilm import gradcheck, layers
from minilm.gradcheck.cases import encoder_decoders

B, T, S, Q, M = 2, 3, 5, 6, 4
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)


def draw(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("kind", ["bahdanau", "general", "dot"])
def test_agreement_with_torch(kind):
    torch = pytest.importorskip("torch")
    memory_dim = Q if kind == "dot" else M
    layer = (
        layers.BahdanauAttention(Q, M, 7, dtype=np.float64, seed=0)
        if kind == "bahdanau"
        else layers.LuongAttention(Q, memory_dim, kind, dtype=np.float64, seed=0)
    )
    query, memory, dy = draw(B, T, Q), draw(B, S, memory_dim, seed=2), draw(B, T, memory_dim, seed=3)
    p = {name: torch.tensor(value, requires_grad=True) for name, value in layer.parameters.items()}
    tq, tm = (torch.tensor(array, requires_grad=True) for array in (query, memory))
    if kind == "bahdanau":
        asked = tq @ p["query.weight"].T + p["query.bias"]
        score = torch.tanh(asked[:, :, None] + (tm @ p["memory.weight"].T)[:, None]) @ p["v"]
    else:
        score = tq @ (tm if kind == "dot" else tm @ p["memory.weight"].T).transpose(1, 2)
    weights = score.masked_fill(~torch.tensor(MASK)[:, None], -torch.inf).softmax(-1)
    wanted = weights @ tm
    wanted.backward(torch.tensor(dy))
    (y, given), saved = layer.forward(query, memory, key_mask=MASK, return_weights=True)
    dquery, dmemory = layer.backward(dy, saved)
    assert np.abs(given - weights.detach().numpy()).max() < 1e-12 and not given[0, :, 3:].any()
    for ours, theirs in ((y, wanted.detach()), (dquery, tq.grad), (dmemory, tm.grad)):
        assert np.abs(ours - theirs.numpy()).max() < 1e-11
    for name, parameter in p.items():
        assert np.abs(layer.parameters.gradients[name] - parameter.grad.numpy()).max() < 1e-11, name


@pytest.mark.parametrize("name, label", [(name, label) for name, cases in encoder_decoders.LAYERS.items() for label in cases])
def test_gradients(name, label):
    thing, inputs, options = encoder_decoders.LAYERS[name][label]()
    assert gradcheck(thing, *inputs, **options)


def test_steps_are_the_sequence():
    layer = layers.BahdanauAttention(Q, M, dtype=np.float64, seed=0)
    query, memory = draw(B, T, Q), draw(B, S, M, seed=2)
    keys, _ = layer.project(memory)
    steps = [layer.attend(query[:, t : t + 1], keys, memory, key_mask=MASK)[0] for t in range(T)]
    assert np.allclose(np.concatenate(steps, axis=1), layer(query, memory, key_mask=MASK), rtol=1e-12)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="must be equal for score='dot', got 6 and 4"):
        layers.LuongAttention(6, 4, "dot")
    with pytest.raises(ValueError, match="'general', 'dot'"):
        layers.LuongAttention(6, 4, "concat")
    layer = layers.LuongAttention(Q, M, dtype=np.float64)
    with pytest.raises(ValueError, match="memory must have shape"):
        layer.forward(draw(B, T, Q), draw(B, S, M + 1))
    with pytest.raises(TypeError, match="key_mask must be a numpy array of bool"):
        layer.forward(draw(B, T, Q), draw(B, S, M), key_mask=MASK.astype(int))
