"""Cases of `minilm gradcheck`: models that answer questions."""

from __future__ import annotations

import itertools

import numpy as np

from minilm.gradcheck.cases.building import KEY, KINK, randomised, table
from minilm.models import MemoryNetwork, Reader

__all__ = ["MODELS"]


def _memory(*, key=None, B=2, M=3, J=4, V=7, **options):
    rng = np.random.default_rng(21)
    model = randomised(MemoryNetwork(V, 3, memory_size=4, dtype=np.float64, **options), rng)
    story = rng.integers(1, V, (B, M, J))  # (B, M, J)
    story[0, :, 2:] = 0
    story[-1, -1] = 0  # a story of fewer sentences
    question = rng.integers(1, V, (B, 3))  # (B, Q)
    question[0, 2:] = 0
    return model, (story, question, rng.integers(1, V, B)), {"key": key}


def _reader(*, key=None, B=2, T=5, V=9, features=1, **options):
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        model = randomised(Reader(V, 3, 2, features=features, dtype=np.float64, **{"dropout": 0.0, **options}), rng)
        passage = rng.integers(1, V, (B, T))  # (B, T)
        question = rng.integers(1, V, (B, 3))  # (B, Q)
        passage[-1, 3:] = question[0, 2:] = 0
        spans = np.array([[1, T - 1]] + [[0, 2]] * (B - 1))  # (B, 2)
        table = model.embedding.weight.value
        scale = 1 / (1 - model.dropout.p) if key is not None else 1.0
        slopes = np.abs(table[1:] * scale @ model.align.weight.value.T + model.align.bias.value)  # (V - 1, E)
        if key is not None or slopes.min() > KINK:
            break
    more = {"key": key} if not features else {"features": rng.standard_normal((B, T, features)), "key": key}
    return model, (passage, question, spans), more


MODELS = {
    "MemoryNetwork": table(
        _memory,
        {
            "adjacent": {"hops": 2},
            "one hop": {"hops": 1},
            "layerwise": {"hops": 3, "tying": "layerwise"},
            "no position encoding": {"hops": 2, "position_encoding": False},
            "noise in time": {"hops": 2, "time_noise": 0.5, "key": KEY},
            "linear start": {"hops": 2, "linear_steps": 3, "key": KEY},
            "linear start, layerwise": {"hops": 2, "linear_steps": 3, "tying": "layerwise", "key": KEY},
            "empty place": {"hops": 2, "empty_place": True, "position_scale": 2.0},
            "empty place, linear start": {"hops": 2, "empty_place": True, "linear_steps": 3, "key": KEY},
            "larger": {"hops": 3, "B": 5, "M": 9, "J": 6, "V": 31},
        },
    ),
    "Reader": table(
        _reader,
        {
            "plain": {},
            "no features": {"features": 0},
            "two layers": {"num_layers": 2},
            "dropout": {"dropout": 0.3, "num_layers": 2, "key": KEY},
            "larger": {"B": 3, "T": 7, "V": 12, "features": 2},
        },
    ),
}
