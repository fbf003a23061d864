"""RNN, LSTM and GRU against PyTorch's modules: outputs, all gradients, lengths, directions, states; and their other promises."""

import copy

import numpy as np
import pytest

import minilm
from minilm import layers
from minilm.random import Key

B, T, D, H = 4, 7, 5, 6
KINDS = {"RNN": {}, "RNN relu": {"nonlinearity": "relu"}, "LSTM": {}, "GRU": {}}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}


def make(kind, dtype=np.float64, seed=0, **options):
    layer = getattr(layers, kind.split()[0])(D, H, dtype=dtype, seed=seed, **KINDS[kind], **options)
    rng = np.random.default_rng(seed + 100)
    for value in layer.parameters.values():
        value[...] = rng.uniform(-0.6, 0.6, value.shape)
    return layer


def inputs(layer, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((B, T, D)).astype(dtype)
    state = tuple(rng.standard_normal(part.shape).astype(dtype) for part in as_tuple(layer.initial_state(B)))
    return x, state if len(state) == 2 else state[0]


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def cotangents(output, seed=2):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in output)


def close(ours, theirs, tolerance):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and np.isfinite(ours).all()
    assert np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-3)


def twin(layer, kind, dtype):
    """PyTorch's module with the same weights, moved by name."""
    torch = pytest.importorskip("torch")
    options = {"num_layers": layer.num_layers, "bias": layer.bias, "bidirectional": layer.bidirectional, "batch_first": True}
    module = getattr(torch.nn, kind.split()[0])(D, H, **KINDS[kind], **options)
    module = module.to({np.float32: torch.float32, np.float64: torch.float64}[dtype])
    module.load_state_dict({name: torch.tensor(value) for name, value in layer.parameters.items()})
    return torch, module


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers, bias", [(1, True), (3, True), (2, False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_torch(kind, dtype, num_layers, bias, bidirectional, with_lengths):
    tolerance = TOLERANCE[dtype]
    layer = make(kind, dtype, num_layers=num_layers, bias=bias, bidirectional=bidirectional)
    torch, module = twin(layer, kind, dtype)
    x, state = inputs(layer, dtype)
    lengths = np.array([7, 2, 5, 1]) if with_lengths else None

    output, saved = layer.forward(x, state, lengths)
    dy = cotangents(output)
    dx, dstate = layer.backward(dy, saved)

    tx = torch.tensor(x, requires_grad=True)
    tstate = tuple(torch.tensor(part, requires_grad=True) for part in as_tuple(state))
    given = tstate if kind == "LSTM" else tstate[0]
    if with_lengths:
        packed = torch.nn.utils.rnn.pack_padded_sequence(tx, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        ty, tfinal = module(packed, given)
        ty, _ = torch.nn.utils.rnn.pad_packed_sequence(ty, batch_first=True, total_length=T)
    else:
        ty, tfinal = module(tx, given)
    theirs = (ty, *(tfinal if kind == "LSTM" else (tfinal,)))
    torch.autograd.backward(theirs, [torch.tensor(part) for part in dy])

    for ours, their in zip(output, theirs, strict=True):
        close(ours, their, tolerance)
    close(dx, tx.grad, tolerance)
    for ours, their in zip(as_tuple(dstate), tstate, strict=True):
        close(ours, their.grad, tolerance)
    names = dict(module.named_parameters())
    assert list(names) == list(layer.parameters)
    for name, gradient in layer.parameters.gradients.items():
        close(gradient, names[name].grad, tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_state_it_starts_from_zeros(kind):
    layer = make(kind, num_layers=2)
    x, _ = inputs(layer)
    output, saved = layer.forward(x)
    given, _ = layer.forward(x, layer.initial_state(B))
    for a, b in zip(output, given, strict=True):
        assert np.array_equal(a, b)
    dx, dstate = layer.backward(cotangents(output), saved)
    assert dstate is None and dx.shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind):
    layer = make(kind, num_layers=2, bidirectional=True)
    x, state = inputs(layer)
    report = minilm.gradcheck(layer, x[:3], jittered(state, 3), np.array([4, 7, 1]), method="directions", tolerance=1e-7)
    assert report, str(report)


def jittered(state, batch):
    parts = tuple(part[:, :batch] for part in as_tuple(state))
    return parts if len(parts) == 2 else parts[0]


@pytest.mark.parametrize("options", [{"dropout": 0.4}, {"dropout": 0.4, "variational": True}, {"weight_dropout": 0.5}])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_with_dropout(kind, options):
    layer = make(kind, num_layers=2, **options)
    x, _ = inputs(layer)
    report = minilm.gradcheck(layer, x[:2, :3], key=Key(3, 1), method="directions", tolerance=1e-7)
    assert report, str(report)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_carries_on(kind):
    layer = make(kind, num_layers=2)
    x, state = inputs(layer)
    whole, _ = layer.forward(x, state)
    first, _ = layer.forward(x[:, :3], state)
    second, _ = layer.forward(x[:, 3:], first.state)
    assert np.allclose(np.concatenate([first.y, second.y], axis=1), whole.y, rtol=1e-12, atol=1e-14)
    for a, b in zip(second[1:], whole[1:], strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_equals_forward(kind, bias, dtype, tolerance):
    layer = make(kind, dtype, num_layers=3, bias=bias)
    x, state = inputs(layer, dtype)
    whole, _ = layer.forward(x, state)
    before = copy.deepcopy(state)
    state_after = state
    for t in range(T):
        y, state_after = layer.step(x[:, t], state_after)
        assert np.abs(y - whole.y[:, t]).max() <= tolerance
    for a, b in zip(as_tuple(state_after), whole[1:], strict=True):
        assert np.abs(a - b).max() <= tolerance
    for a, b in zip(as_tuple(before), as_tuple(state), strict=True):
        assert np.array_equal(a, b)  # the caller's state is not written
    y, _ = layer.step(x[:, 0])
    assert np.abs(y - layer.forward(x[:, :1])[0].y[:, 0]).max() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_time_first_is_the_same(kind):
    layer = make(kind, num_layers=2, bidirectional=True)
    other = make(kind, num_layers=2, bidirectional=True, batch_first=False)
    x, state = inputs(layer)
    output, saved = layer.forward(x, state)
    turned, turned_saved = other.forward(np.ascontiguousarray(x.transpose(1, 0, 2)), state)
    assert np.array_equal(output.y, turned.y.transpose(1, 0, 2)) and turned.y.flags.c_contiguous
    dy, *dfinals = cotangents(output)
    dx, _ = layer.backward((dy, *dfinals), saved)
    turned_dx, _ = other.backward((dy.transpose(1, 0, 2), *dfinals), turned_saved)
    assert np.array_equal(dx, turned_dx.transpose(1, 0, 2))
    assert np.array_equal(layer.parameters.gradient_flat, other.parameters.gradient_flat)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_cotangents_are_zeros(kind):
    layer, other = make(kind, num_layers=2), make(kind, num_layers=2)
    x, state = inputs(layer)
    output, saved = layer.forward(x, state)
    dy, dh, *rest = cotangents(output)
    zeros = tuple(np.zeros_like(part) for part in output)
    for short, full in (
        (dy, (dy, *zeros[1:])),
        ((dy, None), (dy, *zeros[1:])),
        ((None, dh), (zeros[0], dh, *zeros[2:])),
    ):
        dx, dstate = layer.backward(short, saved)
        _, saved_other = other.forward(x, state)
        wanted, wanted_state = other.backward(full, saved_other)
        assert np.allclose(dx, wanted, rtol=1e-12, atol=1e-15)
        for a, b in zip(as_tuple(dstate), as_tuple(wanted_state), strict=True):
            assert np.allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_used_twice_in_one_model(kind):
    """Gradients of both uses add up, and the second use does not disturb what the first one saved."""
    layer, other = make(kind), make(kind)
    (x1, state), (x2, _) = inputs(layer), inputs(layer, seed=9)
    first, saved1 = layer.forward(x1, state)
    second, saved2 = layer.forward(x2)
    dy1, dy2 = cotangents(first), cotangents(second, seed=8)
    layer.backward(dy1, saved1)
    layer.backward(dy2, saved2)
    total = np.zeros_like(layer.parameters.gradient_flat)
    for x, s, dy in ((x1, state, dy1), (x2, None, dy2)):
        _, saved = other.forward(x, s)
        other.parameters.zero_gradients()
        other.backward(dy, saved)
        total += other.parameters.gradient_flat
    assert np.allclose(layer.parameters.gradient_flat, total, rtol=1e-12, atol=1e-14) and total.any()


def test_dropout_between_layers():
    layer = make("LSTM", num_layers=3, dropout=0.5)
    plain = make("LSTM", num_layers=3)
    x, _ = inputs(layer)
    y = layer(x).y
    assert np.array_equal(y, plain(x).y)  # off without a key
    dropped = layer(x, key=Key(1, 2)).y
    assert not np.array_equal(y, dropped) and np.array_equal(dropped, layer(x, key=Key(1, 2)).y)
    assert not np.array_equal(dropped, layer(x, key=Key(1, 3)).y)
    single = make("LSTM", dropout=0.5)
    assert np.array_equal(single(x).y, single(x, key=Key(1, 2)).y)  # nothing is between the layers of one


def test_every_place_has_masks_of_its_own():
    layer = make("GRU", num_layers=4, dropout=0.5, weight_dropout=0.5, bidirectional=True)
    _, saved = layer.forward(inputs(layer)[0], key=Key(1, 2))
    keys = [drop.key for drop in (*saved.drops, *saved.weight_drops) if drop is not None]
    assert len(set(keys)) == len(keys) == 3 + 8
    assert all(drop is None or drop.shared_axis is None for drop in saved.drops)
    layer = make("GRU", num_layers=2, dropout=0.5, variational=True)
    _, saved = layer.forward(inputs(layer)[0], key=Key(1, 2))
    assert saved.drops[1].shared_axis == 0 and saved.drops[1].shape[0] == T


def test_variational_dropout_drops_the_same_elements_at_every_step():
    x = np.ones((3, 50, 2, 40))[0]  # (T, B, D)
    layer = layers.Dropout(0.5, shared_axis=0)
    y, _ = layer.forward(x, key=Key(0, 0))
    assert (y == y[0]).all() and 0 < (y[0] == 0).mean() < 1
    y, _ = layers.Dropout(0.5).forward(x, key=Key(0, 0))
    assert not (y == y[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_workspace_changes_nothing(kind):
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "weight_dropout": 0.3, "bias": False}
    layer, other = make(kind, **options), make(kind, **options)
    x, state = inputs(layer)
    workspace = minilm.Workspace(poison=True)
    held = []
    for _ in range(3):
        with workspace.step():
            layer.parameters.zero_gradients()
            output, saved = layer.forward(x, state, np.array([7, 2, 5, 1]), key=Key(0, 1))
            dx, dstate = layer.backward(cotangents(output), saved)
        held.append(workspace.nbytes)
    assert held[0] == held[1] == held[2]
    wanted, saved = other.forward(x, state, np.array([7, 2, 5, 1]), key=Key(0, 1))
    wanted_dx, wanted_dstate = other.backward(cotangents(wanted), saved)
    for a, b in zip((*output, dx, *as_tuple(dstate)), (*wanted, wanted_dx, *as_tuple(wanted_dstate)), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(layer.parameters.gradient_flat, other.parameters.gradient_flat)


def test_first_values():
    layer = layers.LSTM(D, H, num_layers=2, forget_bias=1.0, orthogonal=True, seed=0)
    values = layer.parameters
    assert (values["bias_ih_l1"][H : 2 * H] == 1).all() and (values["bias_hh_l1"][H : 2 * H] == 0).all()
    assert values["bias_ih_l1"][:H].any()
    for gate in np.split(values["weight_hh_l0"], 4):
        assert np.allclose(gate @ gate.T, np.eye(H), atol=1e-6)
    plain = layers.GRU(40, 25, seed=0).parameters
    for value in plain.values():
        assert 0.15 < np.abs(value).max() <= 0.2  # 1/sqrt(25)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda layer, x: layer.forward(x[0]), ValueError, r"x must have shape \(B, T, D\)"),
        (lambda layer, x: layer.forward(x[:, :, :3]), ValueError, "x must have shape"),
        (lambda layer, x: layer.forward(x.astype(np.float32)), TypeError, "float"),
        (lambda layer, x: layer.forward(x, x), ValueError, "state"),
        (lambda layer, x: layer.forward(x, layer.initial_state(3)), ValueError, "state h must have shape"),
        (lambda layer, x: layer.forward(x, None, np.array([7, 8, 1, 1])), ValueError, "lengths"),
        (lambda layer, x: layers.LSTM(0, 3), ValueError, "input_size"),
        (lambda layer, x: layers.LSTM(3, 3, dropout=1.5), ValueError, "dropout"),
        (lambda layer, x: layers.LSTM(3, 3, bias=False, forget_bias=1.0), ValueError, "forget_bias"),
        (lambda layer, x: layers.RNN(3, 3, nonlinearity="gelu"), ValueError, "nonlinearity"),
        (lambda layer, x: layers.GRU(D, H, bidirectional=True).step(x[:, 0]), ValueError, "bidirectional"),
        (lambda layer, x: layer.backward(x, layer.forward(x)[1]), ValueError, "dy must have shape"),
    ],
)
def test_wrong_arguments(call, error, message):
    layer = make("LSTM")
    x, _ = inputs(layer)
    with pytest.raises(error, match=message):
        call(layer, x)
