"""Sequential on a GPU, which the CPU plays here: the CPU's numbers and Keras's trainings, and nothing that waits for it."""

import warnings

import numpy as np
import pytest

from minilm import devices
from minilm.gradcheck.cases import keras_compatible
from minilm.sequential import (
    GRU,
    LSTM,
    Callback,
    Dense,
    Embedding,
    ModelCheckpoint,
    Sequential,
    TerminateOnNaN,
    load_model,
    losses,
    measuring,
    optimizers,
)
from tests.cuda_on_cpu import fake_cupy
from tests.ops import gpu
from tests.sequential import cases, test_parity

CASES = keras_compatible.MODELS["Sequential"]
RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 7, (60, 5)), RNG.integers(0, 3, 60)


def close(a, b, rtol=1e-9, atol=1e-12):
    for (path, x), (_, y) in zip(gpu.leaves(a), gpu.leaves(b), strict=True):
        np.testing.assert_allclose(y, x, rtol=rtol, atol=atol, err_msg=path)


def steps(build, device, count=2):
    """Losses, gradients, outputs and weights of some steps; and what waited for the GPU meanwhile."""
    step = build()[0]
    model = step.model.to(device)
    inputs, options = devices.to(device, (step._inputs, step._options))
    seen = []
    fake_cupy.waits.clear()
    with devices.ids_are_checked():
        for _ in range(count):
            loss, saved = model.forward(*inputs, **options)
            model.backward(saved)
            seen.append((loss, model.probabilities(saved), model.parameters.gradient_flat.copy()))
            model.update()
    waits = list(fake_cupy.waits)
    return devices.to_host(seen), model.get_weights(), waits


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_cpu_and_wait_for_nothing(case):
    *on_host, _ = steps(CASES[case], "cpu")
    with gpu.emulated():
        *on_device, waits = steps(CASES[case], "cuda")
    close(on_host, on_device)
    assert waits == []


@gpu.on_a_real_one
@pytest.mark.parametrize("case", CASES)
def test_steps_on_a_real_one(case):
    close(steps(CASES[case], "cpu")[:2], steps(CASES[case], "cuda")[:2], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:x gave 1 batches")
@pytest.mark.parametrize("name", cases.FITS)
def test_fits_are_keras_s(name, monkeypatch):
    model_of = test_parity.model_of

    def there(*arguments):
        model, x = model_of(*arguments)
        return model.to("cuda"), x

    monkeypatch.setattr(test_parity, "model_of", there)
    with gpu.emulated():
        test_parity.test_fits(name)


def made(optimizer="adam", device="cpu", **options):
    model = Sequential([Embedding(7, 4, mask_zero=True), GRU(4, dropout=0.2), Dense(3, activation="softmax")], seed=1).to(device)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"], **options)
    return model


def trained(optimizer, device):
    """History, outputs and measures of a small run, all on the host."""
    model = made(optimizer(), device)
    history = model.fit(X, Y, epochs=2, batch_size=16, validation_split=0.2, verbose=0).history
    assert model.device == device
    outputs, called = model.predict(X, verbose=0), model(X[:3])
    assert isinstance(outputs, np.ndarray) and isinstance(called, np.ndarray)
    on_batch = model.train_on_batch(X[:4], Y[:4])
    return history, outputs, called, model.evaluate(X, Y, verbose=0), on_batch, model.get_weights(), model.optimizer.state_dict()


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, global_clipnorm=0.1),
    "adam, each weight clipped": lambda: optimizers.Adam(0.01, clipnorm=0.05),
    "adamw, each number clipped": lambda: optimizers.AdamW(0.01, clipvalue=0.02),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fit_evaluate_and_predict_take_and_give_arrays_of_the_host(optimizer):
    on_host = trained(OPTIMIZERS[optimizer], "cpu")
    with gpu.emulated():
        on_device = trained(OPTIMIZERS[optimizer], "cuda")
    close(on_host, on_device, rtol=2e-3, atol=2e-5)


@gpu.on_a_real_one
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fits_on_a_real_one(optimizer):
    close(trained(OPTIMIZERS[optimizer], "cpu"), trained(OPTIMIZERS[optimizer], "cuda"), rtol=5e-3, atol=1e-4)


class Batches(Callback):
    """Counts what waited for the GPU in each batch, and wants no numbers."""

    wants_every_batch = False

    def on_train_begin(self, logs=None):
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append(len(fake_cupy.waits))


def test_batches_wait_for_their_pinned_buffers_alone(monkeypatch):
    with gpu.emulated():
        model, counter = made(device="cuda"), Batches()
        model.fit(X, Y, epochs=1, batch_size=2, verbose=0, callbacks=[counter, TerminateOnNaN()])
        assert len(counter.counts) == 30 and np.diff(counter.counts).max() <= 1, counter.counts
        monkeypatch.setattr(measuring, "READ_EVERY", 10)
        model.fit(X, Y, epochs=1, batch_size=2, verbose=0, callbacks=[counter])
        assert (np.diff(counter.counts) > 1).sum() == 3, "losses and metrics are read every ten batches"


@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam, lambda *a, **o: optimizers.RMSprop(*a, momentum=0.5, **o)])
def test_a_batch_that_is_not_finite_changes_nothing_and_is_said(kind):
    x = RNG.standard_normal((8, 3)).astype(np.float32)
    bad = x.copy()
    bad[5, 1] = np.inf
    with gpu.emulated():
        models = []
        for _ in range(2):
            model = Sequential([Dense(4, activation="tanh"), Dense(3, activation="softmax")], seed=0).to("cuda")
            model.compile(loss="sparse_categorical_crossentropy", optimizer=kind(0.1, global_clipnorm=1.0))
            model.fit(x, Y[:8], shuffle=False, verbose=0)
            models.append(model)
        state = devices.to_host(models[0].optimizer.state_dict())
        with pytest.raises(FloatingPointError, match="norm of the gradients is nan, wanted a finite number"):
            models[0].fit(np.concatenate([bad, x]), np.concatenate([Y[:8]] * 2), batch_size=8, shuffle=False, verbose=0)
        close({**state, "steps": 0}, {**devices.to_host(models[0].optimizer.state_dict()), "steps": 0})
        for a, b in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not models[0].parameters.gradient_flat.get().any()


def test_a_callback_of_one_s_own_is_told_of_every_batch():
    class Mine(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((logs["loss"], logs["accuracy"]))

    runs = []
    for device in ("cpu", "cuda"):
        seen = []
        with gpu.emulated():
            made(device=device).fit(X, Y, batch_size=16, verbose=0, callbacks=[Mine()])
        runs.append(seen)
    assert len(runs[0]) == 4
    close(runs[0], runs[1], rtol=1e-4, atol=1e-6)


def test_a_loss_and_a_metric_of_one_s_own():
    class Squares(losses.Loss):
        name = "squares"

        def forward(self, y_true, y_pred, logits=False):
            difference = y_pred - y_true.astype(y_pred.dtype)
            return (difference * difference).sum(axis=-1), difference

        def backward(self, dvalues, saved):
            return 2 * saved * dvalues[..., None]

    def metric(y_true, y_pred):
        assert isinstance(y_true, np.ndarray) and isinstance(y_pred, np.ndarray)
        return np.abs(y_true - y_pred).max(axis=-1)

    found = []
    for device in ("cpu", "cuda"):
        with gpu.emulated():
            model = Sequential([Embedding(7, 4), LSTM(3)], seed=0).to(device)
            model.compile(loss=Squares(), optimizer="adam", metrics=[metric])
            found.append(model.fit(X, np.eye(3)[Y], epochs=2, verbose=0).history)
    close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_products_in_another_precision():
    wanted = made()
    wanted.fit(X, Y, verbose=0)
    with gpu.emulated():
        from minilm.ops.cuda import products

        model = made(device="cuda")
        with products.precision("bf16"):
            model.fit(X, Y, verbose=0)
        differences = [np.abs(a - b).max() for a, b in zip(wanted.get_weights(), model.get_weights(), strict=True)]
    assert 1e-7 < max(differences) < 1e-2


def test_a_model_moves_with_the_state_of_its_optimizer_and_its_files_open_on_both(tmp_path):
    whole = made()
    whole.fit(X, Y, epochs=3, batch_size=16, shuffle=False, verbose=0)
    with gpu.emulated():
        model = made(device="cuda")
        assert not model.built and model.device == "cuda"
        model.fit(X, Y, epochs=1, batch_size=16, shuffle=False, verbose=0, callbacks=[ModelCheckpoint(tmp_path / "kept")])
        model.to("cpu").fit(X, Y, initial_epoch=1, epochs=2, batch_size=16, shuffle=False, verbose=0)
        model.to("cuda").save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.device == "cpu" and load_model(tmp_path / "kept").optimizer.iterations == 4
    again.seed = model.seed
    again.fit(X, Y, initial_epoch=2, epochs=3, batch_size=16, shuffle=False, verbose=0)
    close(whole.get_weights(), again.get_weights(), rtol=1e-3, atol=1e-5)
    with gpu.emulated():
        there = load_model(tmp_path / "model").to("cuda")
        there.set_weights(whole.get_weights())
        close(whole.predict(X, verbose=0), there.predict(X, verbose=0), rtol=1e-4, atol=1e-6)


def test_mistakes_are_told_as_on_the_cpu():
    with gpu.emulated(), warnings.catch_warnings():
        model = made(device="cuda")
        with pytest.raises(ValueError, match=r"x\[3, 2\] is 9; input_dim must be at least 10"):
            wrong = X.copy()
            wrong[3, 2] = 9
            model.fit(wrong, Y, verbose=0)
        with pytest.raises(ValueError, match=r"y\[2\] is 5"):
            model.fit(X[:4], np.array([0, 1, 5, 0]), verbose=0)
        with pytest.raises(ValueError, match="input_dim=7, but x"):
            model.forward(*devices.to_device((np.full((2, 3), 50), np.array([0, 1]))))
        with pytest.raises(TypeError, match="on the device"):
            model.forward(X, Y)
    with pytest.raises(RuntimeError, match="no GPU can be used"):
        if devices.gpu_status().available:
            pytest.skip("there is a GPU")
        made(device="cuda")
