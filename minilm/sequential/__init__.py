"""Keras's way of writing a model: a list of layers, compile, fit, predict. Programs run with only their imports changed.

A class for each text::

    import numpy as np
    from minilm.sequential import LSTM, Dense, Embedding, Sequential, Tokenizer, pad_sequences

    texts, y = ["a fine day", "what a bad day"], np.array([1, 0])
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(texts)
    x = pad_sequences(tokenizer.texts_to_sequences(texts))
    model = Sequential([Embedding(len(tokenizer.word_index) + 1, 64, mask_zero=True), LSTM(64), Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, epochs=10)
    model.predict(x)

A class for each word, here the word itself: the LSTM gives all of its steps, and so the model an output for each::

    from minilm.sequential.layers import LSTM, Dense, Embedding
    from minilm.sequential.models import Sequential
    from minilm.sequential.preprocessing.sequence import pad_sequences
    from minilm.sequential.preprocessing.text import Tokenizer

    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(texts)
    padded = pad_sequences(tokenizer.texts_to_sequences(texts))
    V = len(tokenizer.word_index) + 1
    model = Sequential()
    model.add(Embedding(input_dim=V, output_dim=64, input_length=10))
    model.add(LSTM(64, return_sequences=True))
    model.add(Dense(V, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    model.fit(padded, padded, epochs=10)
    model.predict(padded)

``model.to("cuda")``, at any time, moves the model to a GPU; what fit, evaluate and predict take and give stays on the host.
``model.save("m.h5")`` and ``"m.keras"`` write Keras's own files, with h5py; `load_model` reads Keras's, of layers that both have.

Layers compute what Keras's compute on the same weights, and `get_weights` and `set_weights` have Keras's order and shapes;
beneath are minilm's own ops. Of Keras there is what a list of layers over texts needs, not its functional interface.
"""

from minilm.sequential import (
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    preprocessing,
    utils,
)
from minilm.sequential.callbacks import (
    Callback,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from minilm.sequential.layers import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Input,
    InputLayer,
    Masking,
    RepeatVector,
    SequentialLayer,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
)
from minilm.sequential.models import Sequential, load_model
from minilm.sequential.preprocessing.text import Tokenizer, text_to_word_sequence, tokenizer_from_json
from minilm.sequential.utils import PyDataset, pad_sequences, set_random_seed, to_categorical

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Bidirectional",
    "Callback",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "History",
    "Input",
    "InputLayer",
    "LambdaCallback",
    "LearningRateScheduler",
    "Masking",
    "ModelCheckpoint",
    "PyDataset",
    "ReduceLROnPlateau",
    "RepeatVector",
    "Sequential",
    "SequentialLayer",
    "SimpleRNN",
    "SpatialDropout1D",
    "TerminateOnNaN",
    "TimeDistributed",
    "Tokenizer",
    "activations",
    "callbacks",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "pad_sequences",
    "preprocessing",
    "set_random_seed",
    "text_to_word_sequence",
    "to_categorical",
    "tokenizer_from_json",
    "utils",
]


def __dir__() -> list[str]:
    return sorted(__all__)
