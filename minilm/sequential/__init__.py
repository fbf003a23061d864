"""Keras's way of writing a model: a list of layers, compile, fit, predict. Programs run with only their imports changed.

::

    from minilm.sequential import Dense, Embedding, LSTM, Sequential, Tokenizer, pad_sequences

    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(texts)
    x = pad_sequences(tokenizer.texts_to_sequences(texts))
    model = Sequential([Embedding(len(tokenizer.word_index) + 1, 64, mask_zero=True), LSTM(64), Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, epochs=10, validation_split=0.1)
    model.predict(x)

``model.to("cuda")``, at any time, moves the model to a GPU; what fit, evaluate and predict take and give stays on the host.

Layers compute what Keras's compute on the same weights, and `get_weights` and `set_weights` have Keras's order and shapes;
beneath are minilm's own ops. Of Keras there is what a list of layers over texts needs, not its functional interface.
"""

import sys

from minilm.sequential import callbacks, losses, optimizers
from minilm.sequential.base import SequentialLayer
from minilm.sequential.bidirectional import Bidirectional
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
from minilm.sequential.core import Activation, Dense, Dropout, Embedding, Input, SpatialDropout1D
from minilm.sequential.data import to_categorical
from minilm.sequential.model import Sequential, set_random_seed
from minilm.sequential.recurrent import GRU, LSTM, SimpleRNN
from minilm.sequential.saving import load_model
from minilm.sequential.steps import (
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Masking,
    RepeatVector,
    TimeDistributed,
)
from minilm.tokenizers import Word as Tokenizer
from minilm.tokenizers import pad_sequences, text_to_word_sequence, tokenizer_from_json

InputLayer = Input
layers = models = utils = sys.modules[__name__]  # so that `import minilm.sequential as keras` has keras.layers.LSTM too

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
    "ReduceLROnPlateau",
    "RepeatVector",
    "Sequential",
    "SequentialLayer",
    "SimpleRNN",
    "SpatialDropout1D",
    "TerminateOnNaN",
    "TimeDistributed",
    "Tokenizer",
    "callbacks",
    "layers",
    "load_model",
    "losses",
    "models",
    "optimizers",
    "pad_sequences",
    "set_random_seed",
    "text_to_word_sequence",
    "to_categorical",
    "tokenizer_from_json",
    "utils",
]
