"""Generators, iterables and sequences of batches, and numbers of steps."""

import numpy as np
import pytest

from minilm.sequential import Dense, Embedding, PyDataset, Sequential, utils
from minilm.sequential.layers import LSTM

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
WEIGHT = RNG.uniform(0.5, 2, 12)
SIZE = 4


def made():
    model = Sequential([Dense(4, activation="tanh"), Dense(1)], seed=0)
    model.compile(loss="mse", optimizer="sgd", metrics=["mae"])
    return model


def batches(*arrays, passes=1):
    for _ in range(passes):
        for start in range(0, len(X), SIZE):
            yield tuple(array[start : start + SIZE] for array in arrays)


class Batches(PyDataset):
    def __init__(self, *arrays, **options):
        super().__init__(**options)
        self.arrays, self.taken, self.ended = arrays, [], 0

    def __len__(self):
        return len(X) // SIZE

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        self.taken.append(index)
        return tuple(array[index * SIZE : (index + 1) * SIZE] for array in self.arrays)

    def on_epoch_end(self):
        self.ended += 1


class Anew:
    """Gives its batches anew at each iteration, and does not know how many there are."""

    def __iter__(self):
        return batches(X, Y)


def endless():
    return batches(X, Y, passes=10**6)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize(
    ("source", "options"),
    [
        (endless, {"steps_per_epoch": 3}),
        (lambda: Batches(X, Y), {"shuffle": False}),
        (lambda: Batches(X, Y), {"shuffle": False, "steps_per_epoch": 3}),
        (Anew, {}),
        (Anew, {"steps_per_epoch": 3}),
    ],
)
def test_batches_train_as_their_rows_do(source, options, epochs):
    by_rows, by_batches = made(), made()
    wanted = by_rows.fit(X, Y, batch_size=SIZE, epochs=epochs, shuffle=False, validation_data=(X, Y), verbose=0).history
    found = by_batches.fit(source(), epochs=epochs, validation_data=Batches(X, Y), verbose=0, **options).history
    assert sorted(found) == sorted(wanted)
    for name, numbers in wanted.items():
        np.testing.assert_allclose(found[name], numbers, rtol=1e-5)
    for a, b in zip(by_rows.get_weights(), by_batches.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_batches_and_classes():
    classes = (Y > 0).astype(int)

    def trained(*arguments, **options):
        model = Sequential([Dense(2, activation="softmax")], seed=0)
        model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
        model.fit(*arguments, shuffle=False, verbose=0, class_weight={0: 3.0, 1: 0.5}, **options)
        return model.get_weights()

    by_rows = trained(X, classes, sample_weight=WEIGHT, batch_size=SIZE)
    for a, b in zip(by_rows, trained(batches(X, classes, WEIGHT), steps_per_epoch=3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sequence_is_shuffled_and_told_of_the_end_of_a_pass():
    data, model = Batches(X, Y, workers=2), made()
    model.fit(data, epochs=4, verbose=0)
    passes = np.array(data.taken[1:]).reshape(4, 3)  # the first batch is looked at before, to build the model
    assert data.ended == 4 and (np.sort(passes, axis=1) == [0, 1, 2]).all() and len({tuple(each) for each in passes}) > 1
    assert utils.Sequence is PyDataset is utils.PyDataset


def test_evaluate_and_predict():
    model = made()
    model.fit(X, Y, verbose=0)
    wanted, outputs = model.evaluate(X, Y, batch_size=SIZE, verbose=0), model.predict(X, verbose=0)
    for source in (batches(X, Y), Batches(X, Y), Anew()):
        np.testing.assert_allclose(model.evaluate(source, verbose=0), wanted, rtol=1e-6)
    np.testing.assert_allclose(model.evaluate(endless(), steps=3, verbose=0), wanted, rtol=1e-6)
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=SIZE, steps=2, verbose=0), model.evaluate(X[:8], Y[:8], verbose=0))
    for source in (batches(X), batches(X, Y), Batches(X, Y), (x for (x,) in batches(X))):
        np.testing.assert_array_equal(model.predict(source, verbose=0), outputs)
    np.testing.assert_array_equal(model.predict(endless(), steps=2, verbose=0), outputs[:8])
    np.testing.assert_array_equal(model.predict(X, batch_size=SIZE, steps=2, verbose=0), outputs[:8])


def test_a_generator_that_ends():
    for options, epochs in (({}, 1), ({"steps_per_epoch": 2}, 2)):
        with pytest.warns(UserWarning, match="training ends") as warned:
            history = made().fit(batches(X, Y), epochs=9, verbose=0, **options).history
        assert len(history["loss"]) == epochs and warned[0].filename == __file__
    with pytest.warns(UserWarning, match="validation_data gives no more batches after epoch 2") as warned:
        history = made().fit(X, Y, epochs=3, validation_data=batches(X, Y), validation_steps=3, verbose=0).history
    assert len(history["loss"]) == 3 and len(history["val_loss"]) == 1 and warned[0].filename == __file__


def ids_and_more():
    yield np.array([[1, 2]]), np.array([0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.fit(endless(), Y), "y is for arrays"),
        (lambda m: m.fit(endless(), sample_weight=WEIGHT), "sample_weight is for arrays"),
        (lambda m: m.fit(endless(), batch_size=4), "batch_size is for arrays"),
        (lambda m: m.fit(endless(), validation_split=0.5), "validation_split is for arrays"),
        (lambda m: m.fit(X, Y, validation_data=endless(), validation_batch_size=3), "validation_batch_size is for arrays"),
        (lambda m: m.fit(iter([])), "x gives no batches"),
        (lambda m: m.evaluate(iter([])), "x gives no batches"),
        (lambda m: m.predict(iter([])), "x gives no batches"),
        (lambda m: m.fit(batches(X)), r"x must give batches \(x, y\) or \(x, y, sample_weight\)"),
        (lambda m: m.fit(iter([X])), "x must give batches"),
        (lambda m: m.fit(iter([(X, Y[:3])])), "x has 12 rows and y has 3"),
        (lambda m: m.predict(endless(), batch_size=3), "batch_size is for arrays"),
        *[
            (lambda m, name=name, value=value: m.fit(X, Y, **{name: value}), name)
            for name, values in {
                "batch_size": (0, -1),
                "epochs": (-1,),
                "initial_epoch": (-1,),
                "steps_per_epoch": (0, -1),
                "validation_split": (-0.1, 1.0),
                "validation_freq": (0,),
            }.items()
            for value in values
        ],
        (lambda m: m.fit(X, Y, validation_data=(X, Y), validation_steps=0), "validation_steps"),
        (lambda m: m.fit(X, Y, validation_data=(X, Y), validation_batch_size=0), "validation_batch_size"),
        *[(lambda m, value=value: m.predict(X, batch_size=value), "batch_size") for value in (0, -1)],
        *[(lambda m, value=value: m.evaluate(X, Y, batch_size=value), "batch_size") for value in (0, -1)],
        (lambda m: m.predict(X, steps=0), "steps"),
        (lambda m: m.evaluate(X, Y, steps=0), "steps"),
        (lambda m: m.test_on_batch(X[:0], Y[:0]), "x has no rows"),
        (lambda m: m.train_on_batch(X[:0], Y[:0]), "x has no rows"),
    ],
)
def test_mistakes(call, says):
    with pytest.raises(ValueError, match=says) as error:
        call(made())
    assert "\n" not in str(error.value)


def test_no_rows_give_no_outputs():
    model = made()
    model.build((None, 3))
    assert model.predict(X[:0], verbose=0).shape == model.predict_on_batch(X[:0]).shape == (0, 1)


def test_a_generator_builds_a_model_of_ids():
    model = Sequential([Embedding(5, 3), LSTM(2), Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    assert np.isfinite(model.fit(ids_and_more(), verbose=0).history["loss"]).all()
    assert model.metrics_names == ["loss"]


def test_metrics_names_are_those_of_evaluate():
    model = Sequential([Dense(1, activation="sigmoid")], seed=0)
    model.compile(loss="binary_crossentropy", metrics=["accuracy", "mae"])
    assert model.metrics_names == ["loss", "accuracy", "mae"]  # before it is built
    labels = (Y > 0).astype(int)
    values = model.evaluate(X, labels, verbose=0)
    assert dict(zip(model.metrics_names, values, strict=True)) == model.evaluate(X, labels, verbose=0, return_dict=True)
    assert values[1] == np.mean((model.predict(X, verbose=0)[:, 0] > 0.5) == labels)  # the accuracy of one output
