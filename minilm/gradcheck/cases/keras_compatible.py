"""Cases of `minilm gradcheck`: the models of `minilm.sequential`, with every layer, loss and kind of mask."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minilm import devices
from minilm.gradcheck.cases.building import F64, randomised
from minilm.random import Key
from minilm.sequential import (
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
    Masking,
    RepeatVector,
    Sequential,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
    losses,
)

__all__ = ["CASES", "MODELS", "Step"]

V, D, H, C = 6, 3, 3, 3  # ids, widths, classes
IDS = np.array([[0, 2, 0, 1, 5], [3, 3, 1, 0, 0], [0, 0, 4, 2, 1]])  # (B, T), with padding before, behind and between
NONE = np.array([[0, 2, 0, 1], [0, 0, 0, 0]])  # a row of nothing but padding
CLASSES = np.array([0, 2, 1])  # (B,)
STEPS = np.array([[0, 2, 1, 1, 0], [1, 2, 2, 0, 1], [2, 0, 1, 2, 2]])  # (B, T)
SHARES = np.random.default_rng(5).dirichlet(np.ones(C), 3)  # (B, C)
NUMBERS = np.random.default_rng(6).standard_normal((3, 2))
WEIGHT = np.array([0.5, 2.0, 1.2])
KEY = Key(seed=3, step=1)


class Step:
    """The loss of one batch, to be differentiated by the parameters alone: targets and weights have no gradient.

    Parameters
    ----------
    model : Sequential
    inputs : tuple
        x and y.
    options : dict
        Of the model's forward.
    """

    name = "Sequential"

    def __init__(self, model: Sequential, inputs: tuple, options: dict):
        self.model, self._inputs, self._options = model, inputs, options

    @property
    def parameters(self) -> Any:
        """The model's."""
        return self.model.parameters

    def to(self, device: str) -> Any:
        """The same on a GPU, its batch with it."""
        self.model.to(device)
        self._inputs, self._options = devices.to(device, (self._inputs, self._options))
        return self

    def forward(self) -> Any:
        """Returns (loss, saved)."""
        return self.model.forward(*self._inputs, **self._options)

    def backward(self, saved: Any) -> None:
        """Adds the gradients with respect to the parameters to their buffer."""
        self.model.backward(saved)


def _model(layers, x, y, loss, weight=None, key=None):
    rng = np.random.default_rng(8)
    model = Sequential(layers(), seed=0, dtype=F64)
    model.build((None, *x.shape[1:]))
    randomised(model, rng)
    model.compile(loss=loss, optimizer="sgd")
    options = {} if key is None else {"key": key}
    return Step(model, (x, y), options if weight is None else {**options, "sample_weight": weight}), (), {}


def _table(mask_zero=True):
    return Embedding(V, D, mask_zero=mask_zero)


def _last(layer, wrapped=False, **options):
    recurrent = layer(H, **options)
    return [_table(), Bidirectional(recurrent) if wrapped else recurrent, Dense(C, activation="softmax")]


def _all(layer, wrapped=False, **options):
    recurrent = layer(H, return_sequences=True, **options)
    return [_table(), Bidirectional(recurrent) if wrapped else recurrent, TimeDistributed(Dense(C, activation="softmax"))]


def _pooled(activation):
    return [_table(), GRU(H, return_sequences=True), Dense(C, activation=activation), GlobalAveragePooling1D()]


SPARSE = "sparse_categorical_crossentropy"
KINDS = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": SimpleRNN}
BOTH = functools.partial(Bidirectional, merge_mode="mul")
VECTORS = np.random.default_rng(9).standard_normal((3, 4, D))
GAPS = np.where(np.arange(4)[None, :, None] == np.array([0, 3, 1])[:, None, None], 0.0, VECTORS)  # (B, T, D)

CASES = {
    **{f"{name}, last step": (lambda k=kind: _last(k), IDS, CLASSES, SPARSE) for name, kind in KINDS.items()},
    **{f"{name}, all steps": (lambda k=kind: _all(k), IDS, STEPS, SPARSE) for name, kind in KINDS.items()},
    **{
        f"{name}, both directions, all steps": (lambda k=kind: _all(k, wrapped=True), IDS, STEPS, SPARSE)
        for name, kind in KINDS.items()
    },
    "both directions, last step": (lambda: _last(LSTM, wrapped=True), IDS, CLASSES, SPARSE),
    "backwards, all steps": (lambda: _all(GRU, go_backwards=True), IDS, STEPS, SPARSE),
    "a row of padding": (lambda: _all(LSTM, wrapped=True), NONE, STEPS[:2, :4], SPARSE),
    "a row of padding, last step": (lambda: _last(GRU), NONE, CLASSES[:2], SPARSE),
    "held outputs": (
        lambda: [_table(), LSTM(H, return_sequences=True), Flatten(), Dense(C, activation="softmax")], IDS, CLASSES, SPARSE
    ),
    "without bias": (lambda: _last(GRU, use_bias=False), IDS, CLASSES, SPARSE),
    **{
        f"{name}, step by step": (lambda k=kind, o=options: _all(k, wrapped=True, **o), IDS, STEPS, SPARSE, None, KEY)
        for name, kind, options in (
            ("LSTM", LSTM, {"recurrent_dropout": 0.3, "dropout": 0.2}),
            ("LSTM hard", LSTM, {"activation": "softsign", "recurrent_activation": "sigmoid"}),
            ("GRU", GRU, {"recurrent_dropout": 0.3}),
            ("GRU before", GRU, {"recurrent_dropout": 0.3, "reset_after": False}),
            ("SimpleRNN", SimpleRNN, {"recurrent_dropout": 0.3, "activation": "softsign"}),
        )
    },
    "LSTM, step by step, last step": (lambda: _last(LSTM, activation="linear", go_backwards=True), IDS, CLASSES, SPARSE),
    "GRU, step by step, last step": (lambda: _last(GRU, recurrent_dropout=0.4), IDS, CLASSES, SPARSE, None, KEY),
    "dropout": (
        lambda: [
            _table(), SpatialDropout1D(0.3), Dropout(0.2), Bidirectional(LSTM(H, dropout=0.3)), Dropout(0.3), Dense(C, "softmax")
        ],
        IDS, CLASSES, SPARSE, None, KEY,
    ),
    "encoder and decoder": (
        lambda: [_table(), LSTM(H), RepeatVector(5), LSTM(H, return_sequences=True), Dense(C, "tanh"), Activation("softmax")],
        IDS, STEPS, SPARSE, WEIGHT,
    ),
    "weights for steps": (lambda: _all(LSTM), IDS, STEPS, SPARSE, np.linspace(0.3, 2, 15).reshape(3, 5)),
    "product of directions": (lambda: [_table(), BOTH(GRU(H)), Dense(C, "softmax")], IDS, CLASSES, SPARSE),
    "mean of directions": (
        lambda: [_table(), Bidirectional(GRU(H, return_sequences=True), "ave"), GlobalMaxPooling1D(), Dense(C, "softmax")],
        IDS, CLASSES, SPARSE,
    ),
    "vectors with gaps": (lambda: [Masking(), LSTM(H), Dense(C, "softmax")], GAPS, CLASSES, SPARSE),
    "an ignored class": (lambda: _all(LSTM), IDS, STEPS, losses.SparseCategoricalCrossentropy(ignore_class=0)),
    "logits": (lambda: [_table(), LSTM(H), Dense(C)], IDS, CLASSES, losses.SparseCategoricalCrossentropy(from_logits=True)),
    "probabilities": (lambda: _pooled("softmax"), IDS, CLASSES, SPARSE),
    "distributions": (lambda: _last(LSTM), IDS, SHARES, losses.CategoricalCrossentropy(label_smoothing=0.2)),
    "distributions, probabilities": (lambda: _pooled("sigmoid"), IDS, SHARES, "categorical_crossentropy"),
    "yes or no": (lambda: [_table(), LSTM(H), Dense(C, "sigmoid")], IDS, SHARES, "binary_crossentropy", WEIGHT),
    "yes or no, probabilities": (lambda: _pooled("sigmoid"), IDS, SHARES, losses.BinaryCrossentropy(label_smoothing=0.1)),
    "squares": (lambda: [_table(), LSTM(H), Dense(2, "gelu")], IDS, NUMBERS, "mse"),
    "absolute": (lambda: [_table(), LSTM(H), Dense(2)], IDS, NUMBERS, "mae", WEIGHT),
}  # fmt: skip

MODELS = {"Sequential": {label: functools.partial(_model, *case) for label, case in CASES.items()}}
