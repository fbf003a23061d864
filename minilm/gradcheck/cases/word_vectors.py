"""Cases of `minilm gradcheck`: word2vec."""

from __future__ import annotations

import functools

import numpy as np

from minilm.gradcheck.cases.building import F64, randomised
from minilm.models import Word2Vec, Word2VecConfig

__all__ = ["MODELS"]


def _word2vec(*, algorithm, N=4, V=6, D=3, K=3, C=4):
    rng = np.random.default_rng(11)
    model = randomised(Word2Vec(Word2VecConfig(V, size=D, algorithm=algorithm), dtype=F64), rng)
    inputs = rng.integers(0, V, (N, C) if algorithm == "cbow" else N)
    if algorithm == "cbow":
        inputs[0, 1:] = -1  # a word with one neighbour
        inputs[-1, 2] = -1
    targets, negatives = rng.integers(0, V, N), rng.integers(0, V, (N, K))
    negatives[0, 0] = targets[0]  # no question
    negatives[1, :2] = (targets[1] + 1) % V  # one drawn twice
    return model, (inputs, targets, negatives), {}


MODELS = {
    "Word2Vec": {
        f"{algorithm}, {label}": functools.partial(_word2vec, algorithm=algorithm, **sizes)
        for algorithm in ("skip-gram", "cbow")
        for label, sizes in {"small": {}, "larger": {"N": 40, "V": 31, "D": 17, "K": 5, "C": 7}}.items()
    }
}
