"""A saved Sequential goes on as if it had never stopped, in files of every kind."""

import numpy as np
import pytest

from minilm import sequential
from minilm.sequential import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Embedding,
    Flatten,
    Input,
    RepeatVector,
    Sequential,
    TimeDistributed,
    load_model,
    optimizers,
)
from tests.sequential.test_model import RNG, X, Y, made


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
