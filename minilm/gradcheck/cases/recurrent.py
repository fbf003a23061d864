"""Cases of `minilm gradcheck`: single layers, and the recurrent language model."""

from __future__ import annotations

import itertools

import numpy as np

from minilm.gradcheck.cases.building import F64, KEY, KINK, draw, randomised, table
from minilm.layers import GRU, LSTM, RNN, Dropout, Embedding, LayerNorm, Linear
from minilm.models import RNNLanguageModel, RNNLanguageModelConfig, WindowLanguageModel, WindowLanguageModelConfig
from minilm.random import Key

__all__ = ["LAYERS", "MODELS"]


def _like(state, rng):
    """A random state of the form of `state`."""
    return tuple(draw(rng, *part.shape) for part in state) if isinstance(state, tuple) else draw(rng, *state.shape)


# --- layers ----------------------------------------------------------------------------------------------------------


def _linear(shape, bias=True):
    rng = np.random.default_rng(1)
    return randomised(Linear(shape[-1], 3, bias, dtype=F64), rng), (rng.standard_normal(shape),), {}


def _embedding(ids, padding_idx=None):
    rng = np.random.default_rng(2)
    return randomised(Embedding(5, 3, padding_idx, dtype=F64), rng), (np.array(ids),), {}


def _layer_norm(shape, offset=0.0):
    rng = np.random.default_rng(3)
    return randomised(LayerNorm(shape[-1], dtype=F64), rng), (rng.standard_normal(shape) + offset,), {}


def _dropout(p, shared_axis=None, key: Key | None = KEY):
    return Dropout(p, shared_axis), (np.random.default_rng(4).standard_normal((3, 4, 5)),), {"key": key}


def _recurrent(kind, *, B=2, T=3, D=2, H=2, state=False, lengths=None, key=None, **options):
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        layer = randomised(kind(D, H, dtype=F64, **options), rng)
        x = rng.standard_normal((B, T, D) if layer.batch_first else (T, B, D))
        if options.get("nonlinearity") != "relu" or _from_kinks(layer, x) > KINK:
            break
    more = {}
    if state:
        more["state"] = _like(layer.initial_state(B), rng)
    if lengths is not None:
        more["lengths"] = np.array(lengths)
    if key is not None:
        more["key"] = key
    return layer, (x,), more


def _from_kinks(layer, x) -> float:
    """Distance from zero of the nearest number that a relu is applied to, in a unidirectional layer that starts from zeros."""
    nearest = np.inf
    x = x.transpose(1, 0, 2)  # (T, B, D)
    for each in range(layer.num_layers):
        W_ih, W_hh, b_ih, b_hh = layer._weights(f"l{each}")
        h, outputs = np.zeros((x.shape[1], layer.hidden_size)), []  # (B, H)
        for x_t in x:
            a = x_t @ W_ih.T + b_ih + h @ W_hh.T + b_hh  # (B, H)
            nearest = min(nearest, np.abs(a).min())
            h = np.maximum(a, 0)
            outputs.append(h)
        x = np.stack(outputs)  # (T, B, H)
    return nearest


_RECURRENT = {
    "one layer": {},
    "no bias": {"bias": False},
    "state": {"state": True},
    "lengths": {"lengths": (1, 3), "state": True},
    "time first": {"batch_first": False},
    "two layers": {"num_layers": 2, "state": True},
    "bidirectional": {"bidirectional": True, "state": True},
    "two layers, bidirectional, lengths": {"num_layers": 2, "bidirectional": True, "lengths": (3, 2), "state": True},
    "three layers, larger": {"B": 3, "T": 5, "D": 5, "H": 7, "num_layers": 3, "bidirectional": True, "state": True},
    "dropout": {"num_layers": 2, "H": 3, "dropout": 0.5, "key": KEY},
    "variational dropout": {"num_layers": 2, "H": 3, "dropout": 0.5, "variational": True, "key": KEY},
    "weight dropout": {"num_layers": 2, "bidirectional": True, "weight_dropout": 0.5, "key": KEY},
    "all of it, larger": {
        "B": 4, "T": 6, "D": 5, "H": 17, "num_layers": 2, "bidirectional": True, "lengths": (6, 1, 4, 5), "state": True,
        "dropout": 0.3, "variational": True, "weight_dropout": 0.3, "key": KEY,
    },
    "one step, one row": {"B": 1, "T": 1, "D": 1, "H": 1, "state": True},
}  # fmt: skip


_RELU = {f"relu, {label}": {**_RECURRENT[label], "state": False} for label in ("one layer", "no bias", "two layers", "dropout")}

LAYERS = {
    "Linear": table(
        _linear,
        {"bias": {"shape": (4, 2)}, "no bias": {"shape": (4, 2), "bias": False}, "sequences": {"shape": (2, 3, 4)}},
    ),
    "Embedding": table(
        _embedding,
        {
            "a repeated id": {"ids": [[0, 2, 2], [4, 2, 1]]},
            # that id is not among the ids: its gradient is zero by declaration, not by differentiation
            "padding_idx": {"ids": [[1, 2, 2], [4, 3, 1]], "padding_idx": 0},
            "one text": {"ids": [1, 1, 1]},
        },
    ),
    "Dropout": table(
        _dropout,
        {
            "p=0.3": {"p": 0.3},
            "shared over time": {"p": 0.3, "shared_axis": 0},
            "p=0": {"p": 0.0},
            "no key": {"p": 0.3, "key": None},
        },
    ),
    "LayerNorm": table(
        _layer_norm,
        {"rows": {"shape": (3, 4)}, "sequences": {"shape": (2, 3, 5)}, "far from zero": {"shape": (3, 4), "offset": 1e3}},
    ),
    "RNN": {
        **table(_recurrent, _RECURRENT, kind=RNN),
        **table(_recurrent, _RELU, kind=RNN, nonlinearity="relu"),
    },
    "LSTM": table(_recurrent, _RECURRENT, kind=LSTM),
    "GRU": table(_recurrent, _RECURRENT, kind=GRU),
}

# --- models ----------------------------------------------------------------------------------------------------------


def _rnn_lm(*, B=2, T=4, V=5, state=False, key=None, ignored=False, **settings):
    rng = np.random.default_rng(7)
    config = RNNLanguageModelConfig(vocab_size=V, **{"embedding_size": 3, "hidden_size": 2, **settings})
    model = randomised(RNNLanguageModel(config, dtype=F64), rng)
    ids = rng.integers(0, V, (B, T))  # (B, T)
    targets = rng.integers(0, V, (B, T))  # (B, T)
    if ignored:
        targets[0, 1] = targets[-1, -1] = -100
    more = {}
    if state:
        more["state"] = _like(model.initial_state(B), rng)
    if key is not None:
        more["key"] = key
    return model, (ids, targets), more


_LANGUAGE_MODELS = {
    "plain": {},
    "carried state": {"state": True},
    "ignored targets": {"ignored": True},
    "tied": {"tied": True, "embedding_size": 2},
    "tied, projected": {"tied": True, "embedding_size": 3, "state": True},
    "two layers, layer norm": {"num_layers": 2, "layer_norm": True, "hidden_size": 3, "state": True},
    "dropout": {"num_layers": 2, "dropout": 0.4, "hidden_size": 3, "key": KEY},
    "all of it": {
        "num_layers": 2, "tied": True, "layer_norm": True, "dropout": 0.3, "variational": True, "weight_dropout": 0.3,
        "hidden_size": 4, "ignored": True, "state": True, "key": KEY,
    },
    "all of it, larger": {
        "B": 4, "T": 7, "V": 31, "embedding_size": 6, "hidden_size": 19, "num_layers": 2, "tied": True, "layer_norm": True,
        "dropout": 0.3, "variational": True, "weight_dropout": 0.3, "ignored": True, "state": True, "key": KEY,
    },
}  # fmt: skip


def _window_lm(*, B=2, T=4, V=5, state=False, **settings):
    rng = np.random.default_rng(8)
    sizes = {"embedding_size": 3, "hidden_size": 2, "window": 3, **settings}
    model = randomised(WindowLanguageModel(WindowLanguageModelConfig(vocab_size=V, **sizes), dtype=F64), rng)
    more = {"state": rng.integers(0, V, (sizes["window"] - 1, B, 1))} if state else {}
    return model, (rng.integers(0, V, (B, T)), rng.integers(0, V, (B, T))), more


_WINDOWS = {
    "plain": {},
    "carried tokens": {"state": True, "num_layers": 1},
    "a window of one": {"window": 1},
    "larger": {"B": 3, "T": 7, "V": 11, "window": 5, "num_layers": 3, "hidden_size": 4, "state": True},
}

MODELS = {
    "WindowLanguageModel": table(_window_lm, _WINDOWS),
    "RNNLanguageModel": {
        f"{cell}, {label}": build
        for cell in ("rnn", "lstm", "gru")
        for label, build in table(_rnn_lm, _LANGUAGE_MODELS, cell=cell).items()
    },
}
