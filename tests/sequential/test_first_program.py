"""The usual first Keras program, word for word but for its imports, and what a beginner may get wrong in it."""

import numba
import numpy as np
import pytest

from minilm.sequential import Callback, Dense, Embedding, Flatten, Input, Sequential
from minilm.sequential.layers import LSTM
from minilm.sequential.models import Sequential as SequentialModel
from minilm.sequential.preprocessing.sequence import pad_sequences
from minilm.sequential.preprocessing.text import Tokenizer

TEXTS = ["I love machine learning", "I love deep learning and NLP"]


def program(**of_the_lstm):
    """The program up to fit; returns the model and the padded sequences."""
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(TEXTS)
    sequences = tokenizer.texts_to_sequences(TEXTS)
    padded = pad_sequences(sequences)
    V = len(tokenizer.word_index) + 1
    model = SequentialModel()
    model.add(Embedding(input_dim=V, output_dim=64, input_length=10))
    model.add(LSTM(64, **of_the_lstm))
    model.add(Dense(V, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    return model, padded


def test_as_it_is_usually_written_it_runs_up_to_the_last_step_of_the_lstm():
    model, padded = program()
    assert padded.shape == (2, 6) and model.output_shape == (None, 8)
    says = r"Layer 'lstm' \(LSTM\) gives its last step alone, \(None, 64\); .* make it with return_sequences=True"
    with pytest.raises(ValueError, match=says):
        model.fit(padded, padded, epochs=10)


def test_the_corrected_program_learns():
    model, padded = program(return_sequences=True)
    history = model.fit(padded, padded, epochs=150, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    predicted = model.predict(padded, verbose=0)
    assert predicted.shape == (2, 6, 8) and (predicted.argmax(axis=-1) == padded).mean() > 0.9


def test_input_length_is_a_hint():
    model = Sequential([Embedding(9, 4, input_length=10), LSTM(3), Dense(2)])
    assert model.built and model.count_params() == 36 + 96 + 8  # the layers are made by it
    for steps in (3, 10, 12):
        assert model.predict(np.ones((2, steps), int), verbose=0).shape == (2, 2)
    assert Embedding(9, 4, input_length=10).get_config()["input_length"] == 10
    again = Sequential.from_config(model.get_config())
    assert again.predict(np.ones((2, 3), int), verbose=0).shape == (2, 2)


def test_where_the_length_matters_the_message_names_it():
    model = Sequential([Embedding(9, 4, input_length=10), Flatten(), Dense(2)])
    model.compile(loss="mse")
    assert model.predict(np.ones((2, 10), int), verbose=0).shape == (2, 2)
    says = r"'dense' .* x has 3 time steps, .*Embedding\(input_length=10\); pad_sequences\(\.\.\., maxlen=10\)"
    for call in (model.predict, lambda x: model.fit(x, np.zeros((2, 2))), lambda x: model(x)):
        with pytest.raises(ValueError, match=says):
            call(np.ones((2, 3), int))


@pytest.mark.parametrize("layers", [[Input((10,)), Embedding(9, 4, input_length=3)], [Embedding(9, 4, input_shape=(10,))]])
def test_an_input_is_no_hint(layers):
    model = Sequential([*layers, LSTM(3)])
    with pytest.raises(ValueError, match=r"x must have shape \(None, 10\), as the model's Input says, got \(2, 3\)"):
        model.predict(np.ones((2, 3), int))


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_compiling_is_announced_once_and_only_where_it_happens(call, capsys):
    def kernel(x):
        return x + 1

    kernel.__module__ = "minilm.ops.trial"
    compiled, types = numba.njit(kernel), iter([np.int8, np.int16, np.int32, np.int64])

    class Compiles(Callback):
        """Calls the kernel with a type that it has not been compiled for, as the first batch of a program does."""

        def compiles(self, *_):
            for kind in (next(types), next(types)):
                compiled(kind(1))

        on_epoch_end = on_test_end = on_predict_end = compiles

    model = Sequential([Dense(1)], seed=0)
    model.compile(loss="mse")
    x, more = np.ones((4, 2)), () if call == "predict" else (np.ones(4),)
    run = getattr(model, call)
    run(x, *more, verbose=0)  # minilm's own kernels
    announcement = "getting the kernels ready (compiled once, then kept)"
    for verbose in (0, 1):
        capsys.readouterr()
        run(x, *more, verbose=verbose, callbacks=[Compiles()])
        assert capsys.readouterr().err.count(announcement) == verbose
    run(x, *more, verbose=1)
    assert announcement not in capsys.readouterr().err
