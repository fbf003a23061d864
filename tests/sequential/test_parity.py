"""Sequential against Keras: outputs, gradients and whole trainings from the same weights, as expected.npz holds them."""

import json
import pathlib

import numpy as np
import pytest

from minilm import sequential
from tests.sequential import cases

with np.load(pathlib.Path(__file__).with_name("expected.npz")) as file:
    TOLD, FLAT = json.loads(file["json"].tobytes()), file["flat"]
ENDS = np.cumsum([np.prod(shape, dtype=int) for shape in TOLD["shapes"].values()])
EXPECTED = {
    name: part.reshape(shape) for (name, shape), part in zip(TOLD["shapes"].items(), np.split(FLAT, ENDS[:-1]), strict=True)
}
TOLERANCE = 1e-5


def kept(*parts):
    found = []
    while (name := cases.key(*parts, str(len(found)))) in EXPECTED:
        found.append(EXPECTED[name])
    return found


def model_of(kind, layers, weights):
    x = cases.inputs(kind)
    model = sequential.Sequential([cases.made(sequential, *layer) for layer in layers], seed=0)
    model.build((None, *x.shape[1:]))
    model.set_weights(weights)
    return model, x


def close(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE * max(1, np.abs(theirs).max())


def gradients_of(model):
    """In Keras's order and orientation: what get_weights would give of the gradients."""
    values = {name: parameter.value.copy() for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        parameter.value = model.parameters.gradients[name]
    found = model.get_weights()
    for name, parameter in model.named_parameters():
        parameter.value = values[name]
    return found


@pytest.mark.parametrize("name", cases.LAYERS)
def test_layers(name):
    weights = kept("layers", name, "weights")
    model, x = model_of(*cases.LAYERS[name], weights)
    assert [w.shape for w in model.get_weights()] == [w.shape for w in weights]
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    y, dy = kept("layers", name, "y")
    ours, _, parts = model.run(x)
    close(ours, y)
    close(model.predict(x, verbose=0), y)
    for layer, part in zip(reversed(model.layers), reversed(parts), strict=True):
        dy = layer.backward(dy, part)
    for ours, theirs in zip(gradients_of(model), kept("layers", name, "gradients"), strict=True):
        close(ours, theirs)


@pytest.mark.filterwarnings("ignore:x gave 1 batches")  # Keras warns too
@pytest.mark.parametrize("name", cases.FITS)
def test_fits(name):
    kind, layers, compiled, y, fitted = cases.FITS[name]
    model, x = model_of(kind, layers, kept("fits", name, "weights"))
    model.compile(**cases.with_objects(sequential, compiled))
    history = model.fit(x, y, epochs=cases.EPOCHS, shuffle=False, verbose=0, **cases.with_objects(sequential, fitted))
    theirs = TOLD["histories"][name]
    assert sorted(history.history) == sorted(theirs)
    for each, numbers in theirs.items():
        np.testing.assert_allclose(history.history[each], numbers, rtol=TOLERANCE, atol=TOLERANCE, err_msg=each)
    for ours, after in zip(model.get_weights(), kept("fits", name, "after"), strict=True):
        assert np.abs(ours - after).max() < 1e-4
    close(model.predict(x, verbose=0), kept("fits", name, "predicted")[0])
    evaluated = np.atleast_1d(model.evaluate(x, y, batch_size=3, verbose=0))
    np.testing.assert_allclose(evaluated, kept("fits", name, "evaluated")[0], rtol=1e-4, atol=TOLERANCE)


def test_two_models_that_share_a_layer_train_it_in_turn():
    def trainable(model):
        model.compile(optimizer=sequential.optimizers.SGD(0.5, momentum=0.9), loss="binary_crossentropy")

    pair = cases.pair_of(sequential, trainable)
    for number, model in enumerate(pair):
        model.set_weights(kept("shared", f"weights {number}"))
    for _ in range(cases.ROUNDS):
        for model in pair:
            model.fit(cases.ids("none"), np.array([0, 1, 1, 0]), batch_size=2, shuffle=False, verbose=0)
    for number, model in enumerate(pair):
        for ours, theirs in zip(model.get_weights(), kept("shared", f"after {number}"), strict=True):
            close(ours, theirs)
    assert pair[0].layers[0] is pair[1].layers[0]


@pytest.mark.parametrize("name", cases.FITS)
def test_summary(name):
    kind, layers, *_ = cases.FITS[name]
    model, _ = model_of(kind, layers, kept("fits", name, "weights"))
    lines = []
    model.summary(print_fn=lines.append)
    assert words("\n".join(lines)) == words(TOLD["tables"][name])


def words(table):
    """The table without its lines and widths."""
    return table.translate(dict.fromkeys(map(ord, "┏━┳┓┃┡╇┩│├─┼┤└┴┘"), " ")).split()
