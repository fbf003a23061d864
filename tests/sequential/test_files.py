"""Files: Keras's own formats by h5py, both ways, and what is said where a file cannot be written or read."""

import json
import pathlib
import sys
import warnings
import zipfile

import numpy as np
import pytest

from minilm import sequential
from minilm.sequential import (
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Embedding,
    Flatten,
    Input,
    ModelCheckpoint,
    RepeatVector,
    Sequential,
    TimeDistributed,
    initializers,
    load_model,
    losses,
    optimizers,
)
from tests.sequential import cases
from tests.sequential.test_parity import close, kept

h5py = pytest.importorskip("h5py")
HERE = pathlib.Path(__file__).parent
X, Y = np.random.default_rng(0).integers(0, 9, (6, 5)), np.array([0, 1, 1, 0, 1, 0])
NAMES = ["model.h5", "model.hdf5", "model.keras", "model"]
FIRST = {".h5": b"\x89HDF", ".hdf5": b"\x89HDF", ".keras": b"PK\x03\x04"}


def made():
    model = Sequential(
        [
            Embedding(9, 4, initializers.RandomNormal(stddev=0.3), mask_zero=True, input_length=5),
            Bidirectional(LSTM(3, return_sequences=True, dropout=0.1), merge_mode="ave"),
            TimeDistributed(Dense(2, "relu")),
            LSTM(3, go_backwards=True, use_bias=False),
            RepeatVector(2),
            Flatten(),
            Dense(3),
            Dense(2),
            Activation("softmax"),
        ],
        seed=0,
    )
    model.layers[0].trainable = False
    loss = losses.SparseCategoricalCrossentropy(ignore_class=7)
    model.compile(optimizers.RMSprop(0.01, momentum=0.5, clipnorm=1.0), loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_goes_on_as_if_it_had_never_stopped(name, tmp_path):
    model, path = made(), tmp_path / name
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    model.save(path)
    assert path.read_bytes().startswith(FIRST.get(path.suffix, b""))
    again = load_model(path)
    assert again.get_config() == model.get_config() and again.optimizer.get_config() == model.optimizer.get_config()
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in model.layers]
    histories = [each.fit(X, Y, batch_size=2, epochs=4, initial_epoch=2, verbose=0).history for each in (model, again)]
    assert histories[0] == histories[1]  # the order of the examples and dropout too
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w", *NAMES])
def test_weights(name, tmp_path):
    model = made()
    (model.save if name in NAMES else model.save_weights)(tmp_path / name)
    other = Sequential.from_config(model.get_config(), seed=5)
    assert not np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    other.load_weights(tmp_path / name)
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    wrong = Sequential([Input((5,)), Embedding(9, 4), LSTM(3), Dense(2)], seed=0)
    before = wrong.get_weights()
    with pytest.raises(ValueError, match=rf"{name}: .*(do not fit|has \d weights)"):
        wrong.load_weights(tmp_path / name)
    assert all(np.array_equal(a, b) for a, b in zip(wrong.get_weights(), before, strict=True))


# --- Keras's files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keras.h5", "keras.keras"])
def test_keras_s_models_are_read(name):
    x = cases.inputs(cases.FILED[0])
    model = load_model(HERE / name)
    close(model.predict(x, verbose=0), kept("files", "predicted")[0])
    np.testing.assert_allclose(model.evaluate(x, cases.FILED_Y, verbose=0), kept("files", "evaluated")[0], rtol=1e-5)
    assert model.optimizer.get_config()["clipnorm"] == 1.0 and model.optimizer.learning_rate == pytest.approx(0.01)
    assert not load_model(HERE / name, compile=False).compiled
    model.fit(x, cases.FILED_Y, verbose=0)


def test_a_state_that_is_not_read_is_said(tmp_path):
    (tmp_path / "m.h5").write_bytes((HERE / "keras.h5").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["optimizer_weights"]
        group[group.attrs["weight_names"][0]][()] = 3  # steps done
    with pytest.warns(UserWarning, match="the state of Keras's optimizer is not read"):
        load_model(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["keras.h5", "keras.keras", "keras.weights.h5"])
def test_keras_s_weights_are_read(name):
    x = cases.inputs(cases.FILED[0])
    model = Sequential([cases.made(sequential, *each) for each in cases.FILED[1]])
    model.build(x.shape)
    model.load_weights(HERE / name)
    close(model.predict(x, verbose=0), kept("files", "predicted")[0])


def test_ours_are_read_by_keras(tmp_path):
    keras = pytest.importorskip("keras")
    model = made()
    model.fit(X, Y, verbose=0)
    wanted, measured = model.predict(X, verbose=0), model.evaluate(X, Y, verbose=0)
    for name in ("m.h5", "m.keras"):
        model.save(tmp_path / name)
        theirs = keras.models.load_model(tmp_path / name)
        close(theirs.predict(X, verbose=0), wanted)
        np.testing.assert_allclose(theirs.evaluate(X, Y, verbose=0), measured, rtol=1e-5)
        assert not theirs.layers[0].trainable and theirs.optimizer.get_config()["rho"] == 0.9
    for name in ("m.weights.h5", "w.h5"):
        model.save_weights(tmp_path / name)
        theirs.set_weights([weight * 0 for weight in theirs.get_weights()])
        theirs.load_weights(tmp_path / name)
        close(theirs.predict(X, verbose=0), wanted)


def changed(source, target, change):
    """An archive of Keras with another config.json."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.namelist():
            content = old.read(part).decode("latin-1")
            new.writestr(part, (change(content) if part == "config.json" else content).encode("latin-1"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"GlobalAveragePooling1D"', '"Conv1D"', "no layer 'Conv1D'"),
        ('"kernel_regularizer": null', '"kernel_regularizer": {"class_name": "L2"}', "of Keras has kernel_regularizer"),
        ('"class_name": "Sequential"', '"class_name": "Functional"', "holds a Functional of Keras"),
        ('"name": "float32"', '"name": "mixed_float16"', "dtype mixed_float16"),
        ('"return_state": false', '"return_state": true', "no return_state"),
    ],
)
def test_what_keras_has_and_we_have_not_is_refused_by_name(old, new, says, tmp_path):
    changed(HERE / "keras.keras", tmp_path / "m.keras", lambda text: text.replace(old, new))
    with pytest.raises(ValueError, match=says) as error:
        load_model(tmp_path / "m.keras")
    assert "m.keras: " in str(error.value) and "\n" not in str(error.value)


def test_a_compilation_that_is_not_here_is_said(tmp_path):
    for old, new in (('"class_name": "Adam"', '"class_name": "Nadam"'), ("SparseCategoricalCrossentropy", "Poisson")):
        changed(HERE / "keras.keras", tmp_path / "m.keras", lambda text, old=old, new=new: text.replace(old, new))
        with pytest.warns(UserWarning, match=r"is not here \(no (Nadam|Poisson)\): call compile"):
            assert not load_model(tmp_path / "m.keras").compiled


def test_a_model_that_was_not_compiled_is_read_without_a_warning(tmp_path, recwarn):
    def uncompiled(text):
        return json.dumps({**json.loads(text), "compile_config": {}})

    changed(HERE / "keras.keras", tmp_path / "m.keras", uncompiled)
    assert not load_model(tmp_path / "m.keras").compiled
    assert not [each for each in recwarn if "call compile" in str(each.message)]


# --- what cannot be written or read ----------------------------------------------------------------------------------


def test_without_h5py(tmp_path, monkeypatch):
    model = made()
    model.save(tmp_path / "there.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for call in (
        lambda: model.save(tmp_path / "m.h5"),
        lambda: model.save_weights(tmp_path / "m.weights.h5"),
        lambda: ModelCheckpoint(tmp_path / "m-{epoch}.h5"),
        lambda: load_model(tmp_path / "there.h5"),
        lambda: model.load_weights(tmp_path / "there.h5"),
    ):
        with pytest.raises(ValueError, match=r"\.h5: .*pip install h5py"):
            call()
    with pytest.warns(UserWarning, match="written as safetensors, which Keras does not read: its own format wants h5py"):
        model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras").predict(X, verbose=0), model.predict(X, verbose=0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "there.h5"]


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "w.weights.h5", "model"])
def test_broken_files(name, tmp_path):
    model, path = made(), tmp_path / name
    (model.save_weights if name.startswith("w") else model.save)(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    contents = [whole[: int(part * len(whole))] for part in (0, 0.001, 0.1, 0.5, 0.9)]
    for _ in range(20):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 40):
            damaged[place] = rng.integers(256)
        contents.append(bytes(damaged))
    for content in contents:
        path.write_bytes(content)
        for read in (load_model, model.load_weights):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read(path)
                except ValueError as error:
                    assert str(path) in str(error) and "\n" not in str(error)


def test_what_is_there_is_kept(tmp_path):
    model = made()
    for name in ("m.h5", "m.keras", "m"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(FileExistsError, match="overwrite=True"):
            model.save(tmp_path / name, overwrite=False)
        assert (tmp_path / name).read_bytes() == b"mine"
    with pytest.warns(UserWarning, match="Keras reads weights alone from names in .weights.h5"):
        model.save_weights(tmp_path / "w.keras")
    model.load_weights(tmp_path / "w.keras")
