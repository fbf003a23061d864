"""Write expected.npz: what Keras gives for the models of `cases.py`, with its weights; and beside it files of Keras's own.

Run where tensorflow is installed, from the repository's root: ``python -m tests.sequential.make_expected``.
"""

import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["COLUMNS"] = "120"  # of the terminal that tables are for
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from tests.sequential import cases  # noqa: E402

PATH = pathlib.Path(__file__).with_name("expected.npz")


def model_of(kind, layers, seed):
    """Keras's model with random weights, none of them near zero."""
    x = cases.inputs(kind)
    keras.backend.clear_session()  # names begin anew
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype.name)])
    for layer in layers:
        model.add(cases.made(keras.layers, *layer))
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(0.1, 0.7, w.shape) * rng.choice([-1, 1], w.shape) for w in model.get_weights()]
    model.set_weights([w.astype(np.float32) for w in weights])
    return model, x


def densified(optimizer):
    """Let an optimizer take gradients of tables whole.

    TensorFlow hands Keras the gradient of an Embedding as one row for each time that an id stands in the batch, and there
    Adam and RMSprop square every row by itself, Σ g² in the place of (Σ g)². Keras's other backends square the sum.
    """
    apply = optimizer.apply
    optimizer.apply = lambda gradients, variables=None: apply([tf.convert_to_tensor(g) for g in gradients], variables)
    return optimizer


def keep_files(keep):
    """Keras's own files of one model, and what it gives."""
    keras.backend.clear_session()
    model, x = model_of(*cases.FILED, seed=9)
    model.compile(**cases.with_objects(keras, cases.FILED_COMPILED))
    keep([model.predict(x, verbose=0)], "files", "predicted")
    keep([np.atleast_1d(model.evaluate(x, cases.FILED_Y, verbose=0))], "files", "evaluated")
    model.save(PATH.with_name("keras.keras"))
    model.save_weights(PATH.with_name("keras.weights.h5"))
    model.save(PATH.with_name("keras.h5"))


def keep_pair(keep):
    """What two models that share a layer come to, trained in turn."""

    def trainable(model):
        model.compile(optimizer=densified(keras.optimizers.SGD(0.5, momentum=0.9)), loss="binary_crossentropy")

    x, y = cases.ids("none"), np.array([0, 1, 1, 0])
    pair = cases.pair_of(keras, trainable)
    for number, model in enumerate(pair):
        keep(model.get_weights(), "shared", f"weights {number}")
    for _ in range(cases.ROUNDS):
        for model in pair:
            model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    for number, model in enumerate(pair):
        keep(model.get_weights(), "shared", f"after {number}")


def main():
    expected = {}

    def keep(arrays, *parts):
        for number, array in enumerate(arrays):
            expected[cases.key(*parts, str(number))] = np.asarray(array, np.float32)

    for seed, (name, (kind, layers)) in enumerate(cases.LAYERS.items()):
        model, x = model_of(kind, layers, seed)
        with tf.GradientTape() as tape:
            y = model(x)
            dy = np.random.default_rng(seed + 1000).standard_normal(y.shape).astype(np.float32)
            total = tf.reduce_sum(y * dy)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(total, [v.value for v in model.trainable_variables])]
        keep(model.get_weights(), "layers", name, "weights")
        keep([y, dy], "layers", name, "y")
        keep(gradients, "layers", name, "gradients")

    histories, tables = {}, {}
    for seed, (name, (kind, layers, compiled, y, fitted)) in enumerate(cases.FITS.items()):
        model, x = model_of(kind, layers, seed + 500)
        keep(model.get_weights(), "fits", name, "weights")
        compiled = cases.with_objects(keras, compiled)
        compiled["optimizer"] = densified(keras.optimizers.get(compiled["optimizer"]))
        model.compile(**compiled)
        lines = []
        model.summary(line_length=88, print_fn=lines.append)
        tables[name] = "\n".join(lines)
        history = model.fit(x, y, epochs=cases.EPOCHS, shuffle=False, verbose=0, **cases.with_objects(keras, fitted))
        histories[name] = history.history
        keep(model.get_weights(), "fits", name, "after")
        keep([model.predict(x, verbose=0)], "fits", name, "predicted")
        keep([np.atleast_1d(model.evaluate(x, y, verbose=0, batch_size=3))], "fits", name, "evaluated")
    keep_pair(keep)
    keep_files(keep)
    shapes = {name: array.shape for name, array in expected.items()}  # one array of all is a tenth of the file of a thousand
    text = json.dumps({"keras": keras.__version__, "histories": histories, "tables": tables, "shapes": shapes})
    flat = np.concatenate([array.reshape(-1) for array in expected.values()])
    np.savez_compressed(PATH, json=np.frombuffer(text.encode(), np.uint8), flat=flat)
    print(f"{PATH}: {PATH.stat().st_size:,} bytes, {len(expected)} arrays, Keras {keras.__version__}")


if __name__ == "__main__":
    main()
