"""A table of words' vectors, of which some are learned and others stay as they were put in.

::

    y = W[id]        id < V            learned, or frozen by `minilm.layers.Layer.freeze`
    y = U[id - V]    V <= id < V + F   stay: words that no text for training has, with vectors that somebody else has trained

Both are looked up, each with a row of zeros where the other one has the word, and added: so the gradient is that of W alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.layers import Embedding, Layer, initialisers
from minilm.layers.initialisers import Initialiser
from minilm.layers.parameters import Parameter
from minilm.ops import checks, embedding
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["WordEmbedding"]


class WordEmbedding(Embedding):
    """y = W[ids], and U[ids - V] from V on.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        V and E.
    padding_idx : int, optional
        The id of unknown words, whose vector is zero and is not learned; there must be one where `fixed_words` is not 0.
    fixed_words : int
        F, how many words there are behind the V; their vectors are zero until they are `put`.
    initialise, dtype, seed
        Of W, as in `minilm.layers.Embedding`.

    Notes
    -----
    Parameters: ``weight`` (V, E) and, where there are fixed words, ``fixed`` (1 + F, E), whose first row is zero. That one is
    declared first: what is learned of a model then lies side by side in the flat buffer.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        fixed_words: int = 0,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        self.fixed_words = checks.whole("fixed_words", fixed_words, 0, 2**31)
        self.fixed: Parameter | None = None
        if fixed_words:
            if padding_idx is None:
                raise ValueError("padding_idx must be the id of unknown words where there are fixed ones, got None")
            Layer.__init__(self, dtype=dtype, seed=seed)  # Embedding's comes after `fixed`
            self.parameter("fixed", (1 + fixed_words, embedding_dim), initialisers.constant(0)).trainable = False
        super().__init__(num_embeddings, embedding_dim, padding_idx, initialise=initialise, dtype=dtype, seed=seed)

    @property
    def words(self) -> int:
        """V + F."""
        return self.num_embeddings + self.fixed_words

    def put(self, ids: Ids, vectors: Array, fixed: Array | None = None) -> None:
        """Let the words `ids` (n,), each below V, start from these vectors (n, E), and the fixed ones have theirs, (F, E)."""
        self.weight.value[ids] = vectors
        if self.fixed is not None and fixed is not None:
            self.fixed.value[1:] = fixed

    def forward(self, ids: Ids, *, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (..., E) for ids (...) in [0, V + F), and what `backward` needs."""
        if self.fixed is None:
            return super().forward(ids, key=key)
        where, own = devices.array_module(ids).where, ids < self.num_embeddings  # (...)
        y, saved = super().forward(where(own, ids, self.padding_idx), key=key)  # (..., E)
        y += embedding.forward(where(own, 0, ids - self.num_embeddings + 1), self.fixed.value)[0]
        return y, saved

    def settings(self) -> str:
        return super().settings() + (f", fixed_words={self.fixed_words}" if self.fixed_words else "")
