"""A table of vectors, one for each id."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.layers.parameter import Parameter
from minilm.ops import checks, embedding
from minilm.ops.workspace import scratch
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["Embedding", "accumulate"]


class Embedding(Layer):
    """y = W[ids].

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        An id whose vector is zero at first and gets no gradient.
    weight : Parameter, optional
        Another layer's, to share; drawn anew without it.
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
        weight: Parameter | None = None,
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
        if weight is not None:
            if weight.shape != (num_embeddings, embedding_dim):
                raise ValueError(f"weight must have shape {(num_embeddings, embedding_dim)}, got {weight.shape}")
            self.weight = weight
            return
        self.parameter("weight", (num_embeddings, embedding_dim), initialise or initialisers.normal())
        if self.padding_idx is not None:
            self.weight.value[self.padding_idx] = 0

    def forward(self, ids: Ids, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., embedding_dim) for ids (...), and what `backward` needs."""
        return embedding.forward(ids, self.weight.value, self.padding_idx)

    def backward(self, dy: Array, saved: Any) -> None:
        """Returns nothing: ids have no gradient."""
        accumulate(self.weight, dy, saved)

    def settings(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def accumulate(weight: Parameter, dy: Array, saved: embedding.Saved) -> None:
    """Add to a table's gradient that by y = W[ids], for dy (..., D) and what `minilm.ops.embedding` saved.

    A batch reads few rows of a large table: only their gradients are computed and added. (Not on a GPU, which would have to be
    waited for to know how many they are.) The sums are the same bits.
    """
    if not weight.trainable:
        return
    with scratch():
        if saved.ids.size >= len(weight.value) or devices.on_gpu(dy):
            weight.accumulate(embedding.backward(dy, saved))
            return
        rows, ids = np.unique(saved.ids, return_inverse=True)  # (U,), and the ids in the table of these rows
        ids = ids.reshape(saved.ids.shape)  # (...), which NumPy 1 gives as (N,)
        padding = np.flatnonzero(rows == saved.padding_idx)
        of_rows = embedding.Saved(ids, (len(rows), saved.shape[1]), saved.dtype, int(padding[0]) if len(padding) else None)
        weight.accumulate(embedding.backward(dy, of_rows), rows)
