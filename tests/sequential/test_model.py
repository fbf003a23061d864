"""What a user of Keras expects of Sequential beyond the numbers: training, repeatability, steps by hand."""

import warnings

import numpy as np
import pytest

import minilm
from minilm import gradcheck, sequential
from minilm.gradcheck import catalogue
from minilm.gradcheck.cases import keras_compatible
from minilm.sequential import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    Input,
    Sequential,
    Tokenizer,
    losses,
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


def test_a_wrapped_layer_says_what_the_model_reads():
    model = Sequential([Bidirectional(LSTM(4, input_shape=(5, 3))), Dense(2)])
    assert model.built and model.input_shape == (None, 5, 3) and model.output_shape == (None, 2)


def test_a_model_may_have_many_layers():
    model = Sequential([Input((2,)), *[Dense(2) for _ in range(80)]], seed=0)
    model.compile(loss="mse")
    assert model.predict(np.ones((3, 2)), verbose=0).shape == (3, 2)
    assert np.isfinite(model.train_on_batch(np.ones((3, 2)), np.ones((3, 2))))


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


def test_targets_of_an_ignored_class_count_in_metrics_alone():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    y = np.where(np.arange(len(Y)) % 3, Y, -1)
    model = made(loss=loss)
    counted, outputs = y >= 0, model(X)  # (B,), (B, 2)
    value, accuracy = model.test_on_batch(X, y)
    expected = -np.log(outputs[counted, Y[counted]]).mean()
    assert value == pytest.approx(expected, rel=1e-5) and loss(y, outputs) == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx((outputs.argmax(1) == y).mean())
    assert loss(np.full_like(y, -1), outputs) == 0


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
