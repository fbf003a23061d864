"""A table of vectors, one for each id."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.ops import checks, embedding
from minilm.ops.workspace import scratch
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed


class Embedding(Layer):
    """y = W[ids].

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        An id whose vector is zero at first and gets no gradient.
    initialise : callable, optional
        See `minilm.layers.initialisers`; normal(0, 1) without it, as in PyTorch.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameter: ``weight`` (num_embeddings, embedding_dim). Formulas: `minilm.ops.embedding.spec`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.num_embeddings = checks.whole("num_embeddings", num_embeddings, 1, 2**31)
        self.embedding_dim = checks.whole("embedding_dim", embedding_dim, 1, 2**31)
        if padding_idx is not None:
            padding_idx = checks.whole("padding_idx", padding_idx, -num_embeddings, num_embeddings) % num_embeddings
        self.padding_idx = padding_idx
        self.parameter("weight", (num_embeddings, embedding_dim), initialise or initialisers.normal())
        if self.padding_idx is not None:
            self.weight.value[self.padding_idx] = 0

    def forward(self, ids: Ids, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., embedding_dim) for ids (...), and what `backward` needs."""
        return embedding.forward(ids, self.weight.value, self.padding_idx)

    def backward(self, dy: Array, saved: Any) -> None:
        """Returns nothing: ids have no gradient."""
        if not self.weight.trainable:
            return
        with scratch():
            self.weight.accumulate(embedding.backward(dy, saved))

    def settings(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
