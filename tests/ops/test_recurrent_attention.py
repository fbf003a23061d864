"""Attention of recurrent models beside PyTorch: additive (Bahdanau), and multiplicative (Luong): attention with one head."""

import numpy as np
import pytest

import minilm
from minilm import devices, ops
from tests.ops.test_ops_peer import both, close, normal

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
each = pytest.mark.parametrize("implementation", devices.HOST)


def attended(S, mask, value):
    """The mean of the values under a softmax of the scores, in torch."""
    return torch.softmax(S.masked_fill(~torch.tensor(mask)[:, None], -np.inf), -1) @ value


def encoder_and_decoder(dtype, B=3, Tq=7, Tk=40, A=33, D=20):
    shapes = {"query": (B, Tq, A), "key": (B, Tk, A), "v": (A,), "value": (B, Tk, D)}
    mask = np.arange(Tk) < np.array([[Tk], [1], [Tk // 2]])
    return {name: normal(dtype, *shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}, mask


def compare(found, theirs, inputs, dy):
    y, *gradients = found
    close(y, theirs, "y")
    for ours, other in zip(gradients, torch.autograd.grad(theirs, inputs, torch.tensor(dy)), strict=True):
        close(ours, other, "gradient")


@both
def test_additive(dtype):
    arrays, mask = encoder_and_decoder(dtype)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    y, saved = ops.additive_attention.forward(**arrays, key_mask=mask)
    dy = normal(dtype, *y.shape, seed=9)
    S = torch.tanh(tensors["query"][:, :, None] + tensors["key"][:, None]) @ tensors["v"]
    theirs = attended(S, mask, tensors["value"])
    compare([y, *ops.additive_attention.backward(dy, saved)], theirs, list(tensors.values()), dy)
    close(saved.weights, torch.softmax(S.masked_fill(~torch.tensor(mask)[:, None], -np.inf), -1), "alignment")


@each
def test_additive_rows_that_see_nothing(implementation):
    arrays, mask = encoder_and_decoder(np.float32)
    mask[1] = False
    with minilm.implementation(implementation):
        y, saved = ops.additive_attention.forward(**arrays, key_mask=mask)
        dquery, dkey, dv, dvalue = ops.additive_attention.backward(y + 1, saved)
    assert all(np.isfinite(a).all() for a in (y, dquery, dkey, dv, dvalue))
    assert not any(a[1].any() for a in (y, dquery, dkey, dvalue)) and not dvalue[2, 20:].any() and dvalue[0].all()


@both
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_multiplicative(dtype, scale):
    """Luong's "general" score, query · W key: the linear op, then attention with one head. "dot" is the same without W."""
    arrays, mask = encoder_and_decoder(dtype)
    query, states, value = arrays["query"], normal(dtype, 3, 40, 12), arrays["value"]
    W = normal(dtype, 33, 12)
    key, linear = ops.linear.forward(states, W)
    one_head = [array[:, :, None] for array in (query, key, value)]
    y, saved = ops.attention.forward(*one_head, scale=scale, key_mask=mask)
    dy = normal(dtype, *y.shape, seed=9)
    dquery, dkey, dvalue = (d[:, :, 0] for d in ops.attention.backward(dy, saved))
    dstates, dW, _ = ops.linear.backward(dkey, linear)
    tensors = [torch.tensor(a, requires_grad=True) for a in (query, states, W, value)]
    q, h, w, x = tensors
    theirs = attended(scale * q @ (h @ w.T).transpose(1, 2), mask, x)
    compare([y[:, :, 0], dquery, dstates, dW, dvalue], theirs, tensors, dy[:, :, 0])


@pytest.mark.parametrize(
    "change, named",
    [
        ({"key": np.ones((3, 40, 32))}, "key must have shape"),
        ({"v": np.ones(32)}, "v must have shape"),
        ({"value": np.ones((3, 39, 20))}, "value must have shape"),
        ({"key_mask": np.ones((3, 39), bool)}, "key_mask must have shape"),
        ({"key_mask": np.ones((3, 40))}, "key_mask must be a numpy array of bool"),
    ],
    ids=str,
)
def test_wrong_arguments(change, named):
    arrays, mask = encoder_and_decoder(np.float64)
    with pytest.raises((TypeError, ValueError), match=named):
        ops.additive_attention.forward(**{**arrays, "key_mask": mask, **change})
