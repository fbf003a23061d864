"""Embedding, Linear, Dropout, LayerNorm: agreement with PyTorch by name, gradient checks, shared use."""

import numpy as np
import pytest

import minilm
from minilm import layers
from minilm.random import Key

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def randomised(layer, seed=0):
    rng = np.random.default_rng(seed)
    for value in layer.parameters.values():
        value[...] = rng.uniform(0.2, 1.5, value.shape) * rng.choice([-1, 1], value.shape)
    return layer


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["Linear", "Linear without bias", "LayerNorm", "Embedding", "Embedding with padding"])
def test_agrees_with_torch(kind, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    name, arguments, options = {
        "Linear": ("Linear", (5, 6), {}),
        "Linear without bias": ("Linear", (5, 6), {"bias": False}),
        "LayerNorm": ("LayerNorm", (5,), {"eps": 1e-3}),
        "Embedding": ("Embedding", (9, 5), {}),
        "Embedding with padding": ("Embedding", (9, 5), {"padding_idx": -7}),
    }[kind]
    ours = randomised(getattr(layers, name)(*arguments, **options, dtype=dtype))
    theirs = getattr(torch.nn, name)(*arguments, **options, dtype={np.float32: torch.float32, np.float64: torch.float64}[dtype])
    theirs.load_state_dict({key: torch.tensor(value) for key, value in ours.parameters.items()})
    x = rng.integers(0, 9, (3, 4)) if name == "Embedding" else rng.standard_normal((3, 4, 5)).astype(dtype)
    y, saved = ours.forward(x)
    tx = torch.tensor(x, requires_grad=x.dtype.kind == "f")
    ty = theirs(tx)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = ours.backward(dy, saved)
    ty.backward(torch.tensor(dy))
    pairs = [(y, ty)] + [(ours.parameters.gradients[key], value.grad) for key, value in theirs.named_parameters()]
    pairs += [(dx, tx.grad)] if tx.requires_grad else []
    assert dx is not None or name == "Embedding"
    for a, b in pairs:
        b = b.detach().numpy()
        assert a.shape == b.shape and np.abs(a - b).max() <= TOLERANCE[dtype] * np.abs(b).max()
    assert len(dict(theirs.named_parameters())) == len(ours.parameters)


@pytest.mark.parametrize(
    "layer, x, options",
    [
        (layers.Linear(3, 4, dtype=np.float64, seed=0), (2, 5, 3), {}),
        (layers.Linear(3, 4, bias=False, dtype=np.float64, seed=0), (5, 3), {}),
        (layers.LayerNorm(6, dtype=np.float64), (4, 6), {}),
        (layers.Dropout(0.4), (3, 4, 5), {"key": Key(0, 3)}),
        (layers.Dropout(0.4, shared_axis=0), (3, 4, 5), {"key": Key(0, 3)}),
        (layers.Dropout(0.4), (3, 4), {}),
        (layers.Embedding(7, 3, padding_idx=2, dtype=np.float64, seed=0), None, {}),
    ],
)
def test_gradcheck(layer, x, options):
    rng = np.random.default_rng(0)
    randomised(layer)
    x = rng.integers(0, 7, (4, 5)) if x is None else rng.standard_normal(x)
    if isinstance(layer, layers.Embedding):
        x[x == 2] = 3  # the padding row has no gradient, by definition
    report = minilm.gradcheck(layer, x, **options)
    assert report, str(report)


def test_dropout_without_a_key_hands_through():
    x = np.ones((3, 4))
    assert layers.Dropout(0.5)(x) is x and layers.Dropout(0.0)(x, key=Key(0)) is x
    y = layers.Dropout(0.5)(x, key=Key(0))
    assert set(np.unique(y)) <= {0.0, 2.0} and not np.array_equal(y, x)


def test_padding_row_starts_at_zero():
    layer = layers.Embedding(5, 3, padding_idx=-1, seed=0)
    assert not layer.weight.value[4].any() and layer.weight.value[:4].all() and layer.padding_idx == 4


def test_tied_table_gets_the_gradients_of_both_uses():
    rng = np.random.default_rng(0)
    table = layers.Embedding(7, 3, dtype=np.float64, seed=0)
    head = layers.Linear(3, 7, weight=table.weight, dtype=np.float64, seed=0)
    ids, dy, dz = rng.integers(0, 7, 5), rng.standard_normal((5, 3)), rng.standard_normal((5, 7))
    x, saved_x = table.forward(ids)
    _, saved_z = head.forward(x)
    head.backward(dz, saved_z)
    table.backward(dy, saved_x)
    wanted = dz.T @ x
    np.add.at(wanted, ids, dy)
    assert np.allclose(table.weight.gradient, wanted, rtol=1e-13)
    with pytest.raises(ValueError, match="weight must have shape"):
        layers.Linear(4, 7, weight=table.weight)


def test_a_layer_of_ones_own():
    class Scale(layers.Layer):
        def __init__(self, size, **options):
            super().__init__(**options)
            self.parameter("gain", (size,), layers.initialisers.normal())

        def forward(self, x, *, key=None):
            return x * self.gain.value, x

        def backward(self, dy, saved):
            self.gain.accumulate((dy * saved).reshape(-1, dy.shape[-1]).sum(axis=0))
            return dy * self.gain.value

    layer = Scale(4, dtype=np.float64, seed=0)
    assert minilm.gradcheck(layer, np.random.default_rng(0).standard_normal((3, 4)))

    class Careless(layers.Layer):
        def __init__(self):
            self.parameter("gain", (3,), layers.initialisers.normal())

    with pytest.raises(TypeError, match="super"):
        Careless()
    with pytest.raises(ValueError, match="gave shape"):
        layer.parameter("bias", (3,), lambda generator, shape: np.zeros(4))


def test_wrong_sizes():
    for make in (lambda: layers.Linear(0, 3), lambda: layers.Embedding(3, -1), lambda: layers.Embedding(3, 2, padding_idx=3)):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(TypeError):
        layers.Linear(2.0, 3)
    with pytest.raises(TypeError, match="dtype"):
        layers.Linear(2, 3, dtype=np.float16)
