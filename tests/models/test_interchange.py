"""Weights to PyTorch and from it, in memory."""

import copy

import numpy as np
import pytest

from minilm import layers, models

torch = pytest.importorskip("torch")


def test_there_and_back():
    theirs, ours = torch.nn.LSTM(3, 4, batch_first=True), layers.LSTM(3, 4, seed=0)
    theirs.load_state_dict(models.to_torch(ours))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)  # (B, T, D)
    np.testing.assert_allclose(ours.forward(x)[0][0], theirs(torch.from_numpy(x))[0].detach(), atol=1e-6)
    assert models.to_torch(ours)["weight_ih_l0"].data_ptr() != ours.parameters["weight_ih_l0"].ctypes.data  # a copy
    linear = torch.nn.Linear(3, 4)
    for source in (linear, linear.state_dict(), copy.deepcopy(linear).to(torch.bfloat16)):
        mine = models.from_torch(layers.Linear(3, 4, seed=1), source)
        np.testing.assert_allclose(mine.weight.value, linear.weight.detach(), rtol=0 if source is linear else 2**-8)


def test_what_does_not_fit():
    layer = layers.Linear(3, 4, seed=1)
    before = layer.weight.value.copy()
    with pytest.raises(ValueError, match=r"weight has shape \(2, 3\), wanted \(4, 3\)"):
        models.from_torch(layer, torch.nn.Linear(3, 2))
    assert (layer.weight.value == before).all()
    with pytest.raises(TypeError, match="source must be a module of PyTorch or its state dict, got list"):
        models.from_torch(layer, [1])
    with pytest.raises(TypeError, match="model must be a Layer, got int"):
        models.to_torch(3)
