"""What a user of Keras expects of Sequential beyond the numbers: training, callbacks, saving, repeatability."""

import warnings

import numpy as np
import pytest

import minilm
from minilm import gradcheck, sequential, training
from minilm.gradcheck import catalogue
from minilm.gradcheck.cases import keras_compatible
from minilm.sequential import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    Flatten,
    Input,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    RepeatVector,
    Sequential,
    TerminateOnNaN,
    TimeDistributed,
    Tokenizer,
    load_model,
    optimizers,
    pad_sequences,
)

SPARSE = "sparse_categorical_crossentropy"
RNG = np.random.default_rng(0)
X = RNG.integers(1, 9, (120, 5))
X[:, :2] *= RNG.integers(0, 2, (120, 1))  # some rows begin with padding
Y = (X[:, -1] > 4).astype(int)


def made(*extra, seed=0, **options):
    model = Sequential(
        [Embedding(9, 8, mask_zero=True), Bidirectional(LSTM(8)), Dropout(0.2), *extra, Dense(2, activation="softmax")], seed=seed
    )
    model.compile(**{"loss": SPARSE, "optimizer": "adam", "metrics": ["accuracy"], **options})
    return model


def test_the_first_program():
    """Tokenise two sentences, pad, Embedding, LSTM, Dense, compile, fit, predict."""
    texts = ["I love my dog", "I love my cat"]
    tokenizer = Tokenizer(num_words=100, oov_token="<OOV>")
    tokenizer.fit_on_texts(texts)
    padded = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=6, padding="post")
    model = Sequential()
    model.add(Embedding(100, 64, input_length=6))
    model.add(LSTM(64))
    model.add(Dense(2, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    history = model.fit(padded, np.array([0, 1]), epochs=60, verbose=0)
    assert history.history["accuracy"][-1] == 1 and history.history["loss"][-1] < 0.1
    assert model.predict(padded, verbose=0).argmax(axis=1).tolist() == [0, 1]
    assert model.count_params() == 100 * 64 + 4 * 64 * (64 + 64 + 1) + 2 * 65


def test_one_word_a_step():
    """The same with a word to predict at every step."""
    model = Sequential([Input((5,)), Embedding(9, 16), LSTM(32, return_sequences=True), Dense(9, activation="softmax")], seed=0)
    model.compile(loss=SPARSE, optimizer=optimizers.Adam(learning_rate=0.02))
    assert model.output_shape == (None, 5, 9)
    history = model.fit(X, X, epochs=15, verbose=0)
    assert history.history["loss"][-1] < 0.1
    assert (model.predict(X, verbose=0).argmax(axis=-1) == X).all()


@pytest.mark.parametrize("label", keras_compatible.CASES)
def test_gradients(label):
    thing, inputs, options = keras_compatible.MODELS["Sequential"][label]()
    report = gradcheck(thing, *inputs, **options)
    assert report, report


def test_gradcheck_lists_it():
    assert catalogue.MODELS["Sequential"] is keras_compatible.MODELS["Sequential"]


def test_it_is_reachable_from_the_package():
    assert minilm.sequential is sequential and sequential.Sequential is Sequential


def test_it_learns_and_validates(capsys):
    model = made(optimizer=optimizers.Adam(0.05))
    history = model.fit(X, Y, epochs=40, batch_size=16, validation_split=0.2, verbose=2)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"} and history.epoch == list(range(40))
    assert history.history["val_accuracy"][-1] > 0.9
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40 and lines[-1].startswith("Epoch 40/40") and "val_accuracy" in lines[-1]
    loss, accuracy = model.evaluate(X[96:], Y[96:], verbose=0)
    assert loss == pytest.approx(history.history["val_loss"][-1], rel=1e-5)
    assert model.evaluate(X[96:], Y[96:], verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    again = model.fit(X, Y, epochs=2, validation_data=(X[96:], Y[96:]), verbose=0)
    assert len(again.history["val_loss"]) == 2
    assert model.fit(X, Y, epochs=3, initial_epoch=2, verbose=0).epoch == [2]


def test_equal_seeds_give_equal_models():
    def weights(seed):
        model = made(seed=seed)
        model.fit(X, Y, epochs=2, verbose=0)
        return model.get_weights()

    for a, b in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(weights(1), weights(2), strict=True))
    sequential.set_random_seed(5)
    first = made(seed=None).seed
    sequential.set_random_seed(5)
    assert made(seed=None).seed == first


def test_weights_in_keras_order():
    model = made()
    model.build((None, 5))
    shapes = [(9, 8), *[(8, 32), (8, 32), (32,)] * 2, (16, 2), (2,)]
    assert [weight.shape for weight in model.get_weights()] == shapes
    assert (model.get_weights()[3][8:16] == 1).all()  # unit_forget_bias
    layer = model.get_layer("bidirectional")
    new = [RNG.standard_normal(weight.shape) for weight in layer.get_weights()]
    layer.set_weights(new)
    for ours, given in zip(layer.get_weights(), new, strict=True):
        np.testing.assert_array_equal(ours, given.astype(np.float32))
    gru = GRU(3)
    gru.build((None, None, 2))
    assert [weight.shape for weight in gru.get_weights()] == [(2, 9), (3, 9), (2, 9)]


def test_a_table_from_elsewhere_stays_frozen():
    table = RNG.standard_normal((9, 8)).astype(np.float32)
    model = Sequential([Embedding(9, 8, weights=[table], trainable=False), LSTM(4), Dense(2, "softmax")], seed=0)
    model.compile(loss=SPARSE, optimizer=optimizers.AdamW(weight_decay=0.5))
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], table)


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_early_stopping_and_checkpoints(tmp_path, capsys):
    seen = []
    stop = EarlyStopping(monitor="loss", patience=1, min_delta=10, restore_best_weights=True, verbose=1)
    keep = ModelCheckpoint(tmp_path / "model-{epoch:02d}-{loss:.2f}.keras", verbose=1)
    model = made()
    history = model.fit(
        X, Y, epochs=9, verbose=0, callbacks=[stop, keep, LambdaCallback(on_epoch_end=lambda e, logs: seen.append(e))]
    )
    assert history.epoch == [0, 1] == seen and stop.stopped_epoch == 1
    assert "early stopping" in capsys.readouterr().out
    first, second = sorted(tmp_path.iterdir())
    assert first.name.startswith("model-01-")
    np.testing.assert_array_equal(
        load_model(first).predict(X, verbose=0), model.predict(X, verbose=0)
    )  # the best epoch's weights
    assert not np.array_equal(load_model(second).predict(X, verbose=0), model.predict(X, verbose=0))


def test_best_only_and_what_is_watched(tmp_path):
    model, path = made(), tmp_path / "best"
    keep = ModelCheckpoint(path, monitor="accuracy", save_best_only=True, save_weights_only=True)
    history = model.fit(X, Y, epochs=6, verbose=0, callbacks=[keep])
    assert keep.best == max(history.history["accuracy"])
    with pytest.warns(UserWarning, match="'val_loss', which is not there; there are loss, accuracy") as warned:
        model.fit(X, Y, verbose=0, callbacks=[EarlyStopping()])
    assert warned[0].filename == __file__
    with pytest.raises(ValueError, match="asks for 'val_loss'; there are epoch, loss"):
        model.fit(X, Y, verbose=0, callbacks=[ModelCheckpoint(str(tmp_path / "{val_loss}"))])
    with pytest.raises(TypeError, match="has no 'on_epoch'"):
        LambdaCallback(on_epoch=print)


def test_callbacks_of_minilm_training_hear_of_steps():
    class Steps(training.Callback):
        def __init__(self):
            self.events = []

        def on_train_begin(self, loop):
            self.events.append("begin")

        def on_step_end(self, loop):
            self.events.append((loop.state.step, round(loop.loss, 3)))
            if loop.state.step == 5:
                loop.stop()

        def on_validation_end(self, loop, evaluation):
            self.events.append(sorted(evaluation))

        def on_train_end(self, loop):
            self.events.append("end")

    steps, losses, epochs = Steps(), [], []
    seen = LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]), on_epoch_end=lambda epoch, logs: epochs.append(epoch)
    )
    options = {"batch_size": len(X) // 3, "shuffle": False, "validation_data": (X, Y), "epochs": 4, "verbose": 0}
    made().fit(X, Y, callbacks=[seen, steps], **options)
    of_steps = [event for event in steps.events if isinstance(event, tuple)]
    assert [step for step, _ in of_steps] == [1, 2, 3, 4, 5] and epochs == [0, 1] and len(losses) == 5
    assert of_steps[0][1] == round(losses[0], 3) and of_steps[3][1] == round(losses[3], 3), "the first of an epoch"
    measured = ["val_accuracy", "val_loss"]
    assert [event for event in steps.events if not isinstance(event, tuple)] == ["begin", measured, measured, "end"]


def test_learning_rates():
    model = made()
    plateau = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10, min_lr=3e-4)
    model.fit(X, Y, epochs=5, verbose=0, callbacks=[plateau])
    assert model.optimizer.learning_rate == pytest.approx(3e-4)
    schedule = sequential.LearningRateScheduler(lambda epoch, rate: 0.1 / (1 + epoch))
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[schedule])
    assert model.optimizer.learning_rate == pytest.approx(0.05)
    rates = []
    model = made(optimizer=optimizers.SGD(lambda step: rates.append(step) or 0.1))
    model.fit(X, Y, epochs=1, batch_size=40, verbose=0)
    assert rates == [0, 1, 2]


def test_a_loss_that_is_not_finite_can_end_training(capsys):
    """The first step makes a weight of 1e30, and the next loss the square of a number beyond float32, on any processor."""
    model = Sequential([Dense(1)], seed=0)
    model.compile(loss="mse", optimizer=optimizers.SGD(1e30))
    losses = []
    seen = LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model.fit(np.ones((64, 1)), np.full(64, 7.0), epochs=3, batch_size=16, verbose=0, callbacks=[TerminateOnNaN(), seen])
    assert "not finite" in capsys.readouterr().out and len(model.history.epoch) == 1
    assert np.isfinite(losses[0]) and len(losses) < 4


# --- saving ----------------------------------------------------------------------------------------------------------


def test_a_saved_model_goes_on_as_if_it_had_never_stopped(tmp_path):
    model = made(Activation("linear"), optimizer=optimizers.Adam(0.01, clipnorm=1.0))
    model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = load_model(path)
    again.seed = model.seed
    assert again.get_config() == model.get_config() and again.optimizer.get_config() == model.optimizer.get_config()
    for each in (model, again):
        each.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(FileExistsError, match="overwrite"):
        model.save(path, overwrite=False)


def test_every_layer_survives_its_configuration(tmp_path):
    layers = [
        Input((6,)),
        Embedding(9, 4, embeddings_initializer="normal", mask_zero=True),
        sequential.SpatialDropout1D(0.1),
        Bidirectional(GRU(3, return_sequences=True, dropout=0.1), merge_mode="sum"),
        LSTM(3, return_sequences=True, go_backwards=True, use_bias=False),
        TimeDistributed(Dense(4, activation="relu", kernel_initializer="he_normal")),
        sequential.GlobalAveragePooling1D(),
        RepeatVector(2),
        Flatten(),
        Dense(3, "sigmoid"),
    ]
    model = Sequential(layers, seed=0)
    copy = Sequential.from_config(model.get_config(), seed=1)
    assert copy.get_config() == model.get_config()
    copy.set_weights(model.get_weights())
    x = RNG.integers(0, 9, (3, 6))
    np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))
    model.save_weights(tmp_path / "weights")
    other = Sequential.from_config(model.get_config(), seed=2)
    other.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="weights but no model"):
        load_model(tmp_path / "weights")


def test_files_of_other_kinds(tmp_path):
    model = made()
    model.build((None, 5))
    for name, content, says in (
        ("a.keras", b"PK\x03\x04zip", "is no archive of Keras"),
        ("b.h5", b"\x89HDF\r\n", "is no HDF5 file of Keras"),
        ("c", b"nothing", "truncated"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=says):
            load_model(tmp_path / name)
        with pytest.raises(ValueError, match=says):
            model.load_weights(tmp_path / name)
    other = Sequential([Input((5,)), Embedding(9, 8), LSTM(3)])
    other.save_weights(tmp_path / "other")
    with pytest.raises(ValueError, match="missing bidirectional/forward_kernel.*unexpected lstm/kernel"):
        model.load_weights(tmp_path / "other")


def test_a_loss_of_ones_own_trains_but_is_not_saved(tmp_path):
    class Cube(sequential.losses.Loss):
        name = "cube"

        def forward(self, y_true, y_pred, logits=False):
            difference = y_pred - y_true
            return (np.abs(difference) ** 3).mean(axis=-1), difference

        def backward(self, dvalues, saved):
            return 3 * saved * np.abs(saved) * dvalues[..., None] / np.float32(saved.shape[-1])

    model = Sequential([Embedding(9, 4), LSTM(4), Dense(1)], seed=0)
    model.compile(loss=Cube(), optimizer="adam", metrics=[lambda y_true, y_pred: np.abs(y_true - y_pred)[:, 0]])
    losses = model.fit(X, Y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    with pytest.warns(UserWarning, match="not saved"):
        model.save(tmp_path / "model")
    assert not load_model(tmp_path / "model").compiled


@pytest.mark.parametrize("kind", [LSTM, GRU, sequential.SimpleRNN])
@pytest.mark.parametrize("sequences", [False, True])
def test_step_by_step_is_the_op(kind, sequences, monkeypatch):
    """What can be computed either way comes out the same, with masks of all kinds."""
    x = np.array([[0, 0, 4, 1, 5], [2, 0, 5, 0, 1], [0, 0, 0, 0, 0], [5, 2, 6, 4, 3]])
    found = []
    for by_op in (True, False):
        model = Sequential([Embedding(9, 4, mask_zero=True), kind(3, return_sequences=sequences)], seed=0)
        monkeypatch.setattr(model.layers[1], "_by_op", lambda key, by_op=by_op: by_op)
        model.build((None, 5))
        y, _, parts = model.run(x)
        dx = model.layers[1].backward(np.ones_like(y), parts[1])
        found.append((y, dx, model.parameters.gradient_flat.copy()))
    for a, b in zip(*found, strict=True):
        assert np.abs(a - b).max() < 1e-5


def test_recurrent_dropout_is_for_training_alone():
    model = Sequential([Embedding(9, 8), LSTM(16, dropout=0.2, recurrent_dropout=0.5), Dense(2, "softmax")], seed=0)
    model.compile(loss=SPARSE, optimizer=optimizers.Adam(0.02))
    losses = model.fit(X, Y, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_array_equal(model(X), model(X))
    assert not np.array_equal(model(X, training=True), model(X))


def test_batches_by_hand():
    model = made()
    before = model.test_on_batch(X, Y)
    for _ in range(20):
        loss, accuracy = model.train_on_batch(X, Y)
    assert model.test_on_batch(X, Y)[0] < before[0] and loss < before[0] and 0 <= accuracy <= 1
    np.testing.assert_array_equal(model.predict_on_batch(X), model(X))
    assert not np.array_equal(model(X, training=True), model(X))  # dropout


def test_class_weights_and_sample_weights_agree():
    def weights(**options):
        model = made()
        model.fit(X, Y, shuffle=False, verbose=0, **options)
        return model.get_weights()

    by_class = weights(class_weight={0: 2.0, 1: 0.5})
    for a, b in zip(by_class, weights(sample_weight=np.where(Y == 0, 2.0, 0.5)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(by_class, weights(), strict=True))


def test_nothing_is_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().fit(X, Y, verbose=0, validation_split=0.1)
