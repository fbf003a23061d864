"""Programs written for Keras, in minilm.sequential beside Keras itself: the same classes, the same calls, the same weights.

``sequential``
    ``fit`` and ``predict`` over a few batches. Keras runs on TensorFlow where that is installed, else on PyTorch, or on what the
    environment variable ``KERAS_BACKEND`` names. TensorFlow compiles a function at the first call, which is not timed.
"""

from __future__ import annotations

import functools

import numpy as np

import minilm.sequential
from benchmarks.case import Case
from benchmarks.peers import Peers
from benchmarks.timing import Contestant

B = 32
ADAM = {"learning_rate": 1e-3, "clipnorm": 1.0}
LAYERS = {  # name -> (vocabulary, length of a row, layers by class and arguments, loss)
    "reviews": (
        10_000,
        100,
        (
            ("Embedding", {"input_dim": 10_000, "output_dim": 64, "mask_zero": True}),
            ("LSTM", {"units": 64}),
            ("Dense", {"units": 1, "activation": "sigmoid"}),
        ),
        "binary_crossentropy",
    ),
    "characters": (
        65,
        64,
        (
            ("Embedding", {"input_dim": 65, "output_dim": 64}),
            ("GRU", {"units": 256, "return_sequences": True}),
            ("Dense", {"units": 65, "activation": "softmax"}),
        ),
        "sparse_categorical_crossentropy",
    ),
}


def cases(quick: bool = False) -> list[Case]:
    """All of them; `quick` takes a batch in the place of ten, of short rows."""
    batches = 1 if quick else 10
    all_cases = []
    for name in LAYERS:
        T = 5 if quick else LAYERS[name][1]
        for call in ("fit", "predict"):
            build = functools.partial(contestants, name, call, batches, T)
            title = f"sequential {name} {call} B {B} T {T}"
            tokens = batches * B * T
            all_cases.append(Case(title, "models", "sequential", build, tokens=tokens, target=1.5, against="keras"))
    return all_cases


def contestants(name: str, call: str, batches: int, T: int, peers: Peers) -> list[Contestant]:
    """The same numbers in both. What is compared is the first call's loss, or the outputs."""
    vocabulary, _, _, loss = LAYERS[name]
    rng = np.random.default_rng(0)
    x = rng.integers(1, vocabulary, (batches * B, T))  # (N, T)
    if loss == "binary_crossentropy":
        x[:, : T // 4] *= rng.random((len(x), 1)) < 0.5  # half of the rows begin with padding
        y = rng.integers(0, 2, (len(x), 1)).astype(np.float32)
    else:
        y = rng.integers(0, vocabulary, x.shape)
    own = model_of(minilm.sequential, name, x)
    weights = own.get_weights()
    models = {"minilm": own}
    if (keras := peers.get("keras")) is not None:
        limit_threads(keras, peers.threads)
        models["keras"] = model_of(keras, name, x, weights)
    return [Contestant(who, runner(model, call, x, y), lambda output: [output]) for who, model in models.items()]


def model_of(library, name: str, x: np.ndarray, weights: list[np.ndarray] | None = None):
    """The model, built for rows like `x` and compiled."""
    _, _, layers, loss = LAYERS[name]
    model = library.Sequential([getattr(library.layers, kind)(**arguments) for kind, arguments in layers])
    model.compile(optimizer=library.optimizers.Adam(**ADAM), loss=loss)
    model.predict_on_batch(x[:B])
    if weights is not None:
        model.set_weights(weights)
    return model


def runner(model, call: str, x: np.ndarray, y: np.ndarray):
    """The whole call: what it returns of the loss, or the outputs."""
    if call == "predict":
        return lambda: model.predict(x, batch_size=B, verbose=0)

    def fit():
        history = model.fit(x, y, batch_size=B, epochs=1, shuffle=False, verbose=0)
        return np.array(history.history["loss"])

    return fit


def limit_threads(keras, threads: int | None) -> None:
    """As many threads as minilm takes. TensorFlow wants to know before its first operation, PyTorch was told before."""
    if threads and keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
