"""The recurrent language model: agreement with PyTorch, gradients, carried state, generation, memory."""

import contextlib
import copy
import tracemalloc

import numpy as np
import pytest

import minilm
from minilm import models, optimizers
from minilm.random import Key

V, B, T = 11, 3, 6
CELLS = ("rnn", "lstm", "gru")
SHAPES = {
    "plain": {},
    "deep": {"num_layers": 2, "layer_norm": True},
    "tied": {"tied": True, "hidden_size": 5},
    "tied, projected": {"tied": True, "num_layers": 2},
}


def make(dtype=np.float64, seed=0, **changes):
    settings = {"vocab_size": V, "embedding_size": 5, "hidden_size": 7, **changes}
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(**settings), seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed + 50)
    for value in model.parameters.values():
        value[...] = rng.uniform(0.1, 0.7, value.shape) * rng.choice([-1, 1], value.shape)
    return model


def text(seed=0, batch=B, time=T):
    ids = np.random.default_rng(seed).integers(0, V, (batch, time + 1))
    return ids[:, :-1], ids[:, 1:]


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def random_state(model, batch=B):
    rng = np.random.default_rng(5)
    parts = tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in as_tuple(model.initial_state(batch)))
    return parts if len(parts) == 2 else parts[0]


def same_state(a, b, tolerance=0.0):
    return all(np.abs(x - y).max() <= tolerance for x, y in zip(as_tuple(a), as_tuple(b), strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("cell", CELLS)
def test_agrees_with_torch(cell, dtype, tolerance, shape):
    torch = pytest.importorskip("torch")
    model = make(dtype, cell=cell, **SHAPES[shape])
    config = model.config
    ids, targets = text()
    targets = targets.copy()
    targets[1, 2] = -100
    state = random_state(model)
    loss, saved = model.forward(ids, targets, state)
    dstate = model.backward(saved)

    w = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.items()}
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    recurrent = kind(config.embedding_size, config.hidden_size, config.num_layers, batch_first=True, dtype=w["output.bias"].dtype)
    tstate = tuple(torch.tensor(part, requires_grad=True) for part in as_tuple(state))
    x = w["embedding.weight"][torch.tensor(ids)]
    y, tfinal = torch.func.functional_call(
        recurrent,
        {name.removeprefix("recurrent."): value for name, value in w.items() if name.startswith("recurrent.")},
        (x, tstate if cell == "lstm" else tstate[0]),
    )
    if config.layer_norm:
        y = torch.nn.functional.layer_norm(y, (config.hidden_size,), w["norm.weight"], w["norm.bias"])
    if "projection.weight" in w:
        y = y @ w["projection.weight"].T
    logits = y @ w["embedding.weight" if config.tied else "output.weight"].T + w["output.bias"]
    tloss = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(targets).reshape(-1))
    tloss.backward()

    assert abs(loss - tloss.item()) <= tolerance * tloss.item()
    assert same_state(saved.state, tuple(part.detach().numpy() for part in as_tuple(tfinal)), tolerance)
    for ours, theirs in zip(as_tuple(dstate), tstate, strict=True):
        assert np.abs(ours - theirs.grad.numpy()).max() <= tolerance * np.abs(theirs.grad.numpy()).max()
    assert set(w) == set(model.parameters)
    for name, gradient in model.parameters.gradients.items():
        wanted = w[name].grad.numpy()
        assert np.abs(gradient - wanted).max() <= tolerance * np.abs(wanted).max(), name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell, shape):
    model = make(cell=cell, dropout=0.3, weight_dropout=0.2, variational=shape == "deep", **SHAPES[shape])
    ids, targets = text(batch=2, time=4)
    report = minilm.gradcheck(model, ids, targets, random_state(model, 2), key=Key(1, 2), method="directions", tolerance=1e-6)
    assert report, str(report)
    report = minilm.gradcheck(model, ids, targets, method="directions", tolerance=1e-6)
    assert report, str(report)


@pytest.mark.parametrize("cell", CELLS)
def test_carried_state_equals_one_long_sequence(cell):
    model = make(cell=cell, num_layers=2)
    ids, targets = text(time=10)
    whole, saved = model.forward(ids, targets)
    first, saved1 = model.forward(ids[:, :4], targets[:, :4])
    second, saved2 = model.forward(ids[:, 4:], targets[:, 4:], saved1.state)
    assert 0.4 * first + 0.6 * second == pytest.approx(whole, rel=1e-12)
    assert same_state(saved2.state, saved.state, 1e-12)
    loss, state = model.loss(ids, targets)
    assert loss == whole and same_state(state, saved.state)


def test_the_state_outlives_a_reset():
    model = make(cell="lstm")
    workspace = minilm.Workspace(poison=True)
    with workspace.step():
        _, saved = model.forward(*text())
    before = copy.deepcopy(saved.state)
    with workspace.step():
        model.forward(*text(1))
    assert same_state(before, saved.state)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_step_by_step_equals_logits(cell, shape):
    model = make(cell=cell, **SHAPES[shape])
    ids, targets = text()
    logits, state = model.logits(ids)
    assert logits.shape == (B, T, V)
    last, last_state = model.logits(ids, last=True)
    assert np.allclose(last, logits[:, -1], rtol=1e-12) and same_state(last_state, state)
    after = model.initial_state(B)
    for t in range(T):
        one, after = model.step(ids[:, t], after)
        assert np.abs(one - logits[:, t]).max() <= 1e-12
    assert same_state(after, state, 1e-12)
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (B, T, V)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    loss = -np.take_along_axis(log_p, targets[..., None], -1).mean()
    assert model.loss(ids, targets)[0] == pytest.approx(loss, rel=1e-12)


def test_dropout_needs_a_key_and_follows_it():
    model, plain = make(dropout=0.5, num_layers=2), make(num_layers=2)
    ids, targets = text()
    assert model.forward(ids, targets)[0] == plain.forward(ids, targets)[0]
    losses = [model.forward(ids, targets, key=key)[0] for key in (Key(1, 1), Key(1, 1), Key(1, 2), Key(2, 1))]
    assert losses[0] == losses[1] and len({float(loss) for loss in losses}) == 3


def test_gradients_of_micro_batches_add_up():
    model, other = make(), make()
    ids, targets = text(batch=4)
    _, saved = model.forward(ids, targets)
    model.backward(saved)
    for half in (slice(0, 2), slice(2, 4)):
        _, saved = other.forward(ids[half], targets[half])
        other.backward(saved)
    assert np.allclose(other.parameters.gradient_flat / 2, model.parameters.gradient_flat, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_a_training_step_after_the_first_allocates_nothing_large(cell):
    model = make(np.float32, cell=cell, hidden_size=32, num_layers=2, dropout=0.2, tied=True)
    adam = optimizers.AdamW(model.parameters, lr=1e-3, weight_decay=0.1, decay="matrices", clip_norm=1.0)
    workspace = minilm.Workspace()
    ids, targets = text(batch=8, time=64)  # activations of 8 * 64 * 32 * 4 = 65536 bytes each
    state = None

    def step(number):
        nonlocal state
        with workspace.step():
            loss, saved = model.forward(ids, targets, state, key=Key(0, number))
            model.backward(saved)
        adam.step()
        state = saved.state

    for number in range(3):
        step(number)
    held = workspace.nbytes
    tracemalloc.start()
    for number in range(3, 6):
        step(number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert workspace.nbytes == held > 500_000
    assert peak < 50_000  # what stays is the kernels' scratch of a fixed size, some 10 KiB a thread


def test_a_workspace_changes_nothing():
    losses = []
    for workspace in (None, minilm.Workspace(poison=True)):
        model = make(np.float32, dropout=0.3, num_layers=2, tied=True, layer_norm=True)
        adam = optimizers.Adam(model.parameters, lr=0.01, clip_norm=1.0)
        state = None
        for number in range(4):
            with contextlib.nullcontext() if workspace is None else workspace.step():
                loss, saved = model.forward(*text(number), state, key=Key(0, number))
                model.backward(saved)
            adam.step()
            state = saved.state
            losses.append(loss)
    assert losses[:4] == losses[4:] and len(set(losses)) == 4


@pytest.mark.parametrize("cell", CELLS)
def test_it_learns(cell):
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=V, cell=cell, hidden_size=32), seed=0)
    adam = optimizers.Adam(model.parameters, lr=0.01, clip_norm=1.0)
    ids = np.tile(np.random.default_rng(0).permutation(V), (2, 6))  # each token determines the next
    for _ in range(60):
        loss, saved = model.forward(ids[:, :-1], ids[:, 1:])
        model.backward(saved)
        adam.step()
    assert loss < 0.1


def test_first_values():
    settings = {"vocab_size": 50, "embedding_size": 8, "hidden_size": 8, "tied": True, "forget_bias": 1.0, "init_range": 0.05}
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(**settings), seed=0)
    values = model.parameters
    forget = slice(8, 16)
    assert (values["recurrent.bias_ih_l0"][forget] == 1).all() and not values["output.bias"].any()
    values["recurrent.bias_ih_l0"][forget] = 0
    assert all(np.abs(value).max() <= 0.05 for value in values.values())
    again = models.RNNLanguageModel(model.config, seed=0).parameters
    assert np.array_equal(again["embedding.weight"], values["embedding.weight"])


def test_diagnose():
    ids, targets = text()
    model = make(num_layers=2)
    assert model.diagnose(ids, targets) is None
    model.parameters.gradients["output.bias"][3] = np.inf
    assert model.diagnose(ids, targets) == "gradient of output.bias"
    state = model.initial_state(B)
    state[0][1, 0, 0] = np.nan
    assert model.diagnose(ids, targets, state) == "output of recurrent layer 1"
    model.recurrent.weight_hh_l0.value[0, 0] = np.nan
    assert model.diagnose(ids, targets) == "parameter recurrent.weight_hh_l0"
    big = make(np.float32)
    big.recurrent.bias_ih_l0.value[...] = 50  # all gates open: the outputs are nearly 1
    big.output.weight.value[...] = 3e38
    assert big.diagnose(ids, targets) == "output of output"


def test_wrong_arguments():
    model = make()
    ids, targets = text()
    bad = ids.copy()
    bad[1, 4] = V
    for call, error, message in (
        (lambda: model.forward(bad, targets), ValueError, rf"ids\[1, 4\] is {V}"),
        (lambda: model.forward(ids, bad), ValueError, r"targets\[1, 4\]"),
        (lambda: model.forward(ids, targets[:, 1:]), ValueError, "targets must have shape"),
        (lambda: model.forward(ids[0], targets[0]), ValueError, r"\(B, T\)"),
        (lambda: model.forward(ids[:, :0], targets[:, :0]), ValueError, "at least one"),
        (lambda: model.forward(ids.astype(float), targets), TypeError, "integers"),
        (lambda: model.forward(ids, targets, random_state(model, 2)), ValueError, "state h"),
        (lambda: model.step(np.array([V])), ValueError, r"ids\[0\]"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_picture():
    text = repr(make(tied=True, num_layers=2))
    assert "recurrent: LSTM(5, 7, num_layers=2, batch_first=False)" in text and "tied to embedding.weight" in text
