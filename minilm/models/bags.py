"""Bags of words: sentences as vectors, of a table and of where their words stand, for `minilm.models.memory_network`.

::

    bag(E)[d] = sum_j l[j, d] E[w_j, d]     l[j, d] = s (1 - j/J) - s (d/D)(1 - 2j/J)     without position encoding l is 1

l is linear in d: with p_j = s (1 - j/J) and q_j = s (2j/J - 1) a bag is (sum_j p_j E[w_j]) + (sum_j q_j E[w_j]) · d/D.
`BagEmbedding` is the layer with a table; the sentences are prepared once for all tables. There are two ways to compute that for N
sentences.

`Counts`, on the CPU: two products with matrices of word counts, P and Q (N, U), which hold p and q summed over each word of the U
that the batch holds, and do not depend on the table::

    bag(E) = P E[words] + (Q E[words]) · d/D         dE[words] = Pᵀ dx + Qᵀ (dx · d/D)

`Rows`, on a GPU, which would have to be waited for to know U: the rows of all words are read, and equal words' gradients summed
by the op `minilm.ops.embedding`::

    bag(E) = p E[w] + (q E[w]) · d/D                 dE[w_j] = p_j dx + q_j (dx · d/D)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import Embedding
from minilm.ops import embedding
from minilm.ops.embedding.spec import Saved
from minilm.random import Key
from minilm.typing import Array, DType, Ids

__all__ = ["BagEmbedding", "Bags", "Counts", "Rows", "bags_of"]


class Bags(NamedTuple):
    """Sentences, as a table's layer reads them."""

    words: Counts | Rows  # of the N sentences
    shape: tuple[int, ...]  # in which they stand, of N numbers


def bags_of(ids: Ids, scale: float, dtype: DType) -> Bags:
    """Sentences, ids (..., J) with 0 for padding; `scale` is s, or 0 without position encoding."""
    kind = {"cpu": Counts, "cuda": Rows}[devices.device_of(ids)]
    shape = ids.shape[:-1]
    return Bags(kind.of(ids.reshape(math.prod(shape), ids.shape[-1]), scale, dtype), shape)


class BagEmbedding(Embedding):
    """y = bag(W) of each sentence, for `Bags` in the place of an `Embedding`'s ids."""

    def forward(self, bags: Bags, *, key: Key | None = None) -> tuple[Array, Bags]:  # type: ignore[override]
        """Returns y (..., embedding_dim) for sentences (..., J), and what `backward` needs."""
        y = bags.words.forward(self.weight.value)  # (N, D)
        return y.reshape(*bags.shape, y.shape[1]), bags

    def backward(self, dy: Array, saved: Bags) -> None:
        """Returns nothing: ids have no gradient."""
        saved.words.backward(dy.reshape(-1, dy.shape[-1]), self.weight)


class Counts(NamedTuple):
    """Sentences as matrices of counts."""

    ids: np.ndarray  # (U,) the words that the batch holds
    P: np.ndarray  # (N, U)
    Q: np.ndarray | None  # (N, U), None without position encoding

    @classmethod
    def of(cls, ids: Ids, scale: float, dtype: DType) -> Counts:
        """The counts of ids (N, J)."""
        N = len(ids)
        rows, places = np.nonzero(ids)  # (W,) of each word: its sentence, its place
        words, column = np.unique(ids[rows, places], return_inverse=True)  # (U,), (W,)
        cells = rows * len(words) + column  # (W,)

        def counted(weights):
            flat = np.bincount(cells, weights, minlength=N * len(words))  # (N U,)
            return flat.reshape(N, len(words)).astype(dtype)

        if not scale:
            return cls(words, counted(None), None)
        part = (places + 1) / (ids != 0).sum(axis=1)[rows]  # (W,) j / J
        return cls(words, counted(scale * (1 - part)), counted(scale * (2 * part - 1)))

    def forward(self, E: Array) -> Array:
        """The vectors (N, D) by a table E (V, D)."""
        rows = E[self.ids]  # (U, D)
        x = self.P @ rows  # (N, D)
        return x if self.Q is None else x + (self.Q @ rows) * _scale(E)

    def backward(self, dx: Array, weight: Array) -> None:
        """Add the gradient with respect to the table, for dx (N, D), to the parameter's."""
        dE = self.P.T @ dx  # (U, D)
        if self.Q is not None:
            dE += self.Q.T @ (dx * _scale(dx))
        weight.accumulate(dE, self.ids)


class Rows(NamedTuple):
    """Sentences as they are, and what each word counts for; nothing, where there is padding."""

    ids: np.ndarray  # (N, J)
    p: np.ndarray  # (N, J)
    q: np.ndarray | None  # (N, J), None without position encoding

    @classmethod
    def of(cls, ids: Ids, scale: float, dtype: DType) -> Rows:
        """The shares of ids (N, J)."""
        module, present = devices.array_module(ids), ids != 0  # (N, J)
        if not scale:
            return cls(ids, present.astype(dtype), None)
        words = module.maximum(1, present.sum(axis=1))[:, None]  # (N, 1) J, or 1 for no sentence
        part = module.arange(1, ids.shape[1] + 1) / words  # (N, J) j / J
        return cls(ids, (scale * (1 - part) * present).astype(dtype), (scale * (2 * part - 1) * present).astype(dtype))

    def forward(self, E: Array) -> Array:
        """The vectors (N, D) by a table E (V, D)."""
        rows, _ = embedding.forward(self.ids, E)  # (N, J, D)
        x = (self.p[:, None] @ rows)[:, 0]  # (N, D)
        return x if self.q is None else x + (self.q[:, None] @ rows)[:, 0] * _scale(E)

    def backward(self, dx: Array, weight: Array) -> None:
        """Add the gradient with respect to the table, for dx (N, D), to the parameter's."""
        drows = self.p[:, :, None] * dx[:, None]  # (N, J, D)
        if self.q is not None:
            drows += self.q[:, :, None] * (dx * _scale(dx))[:, None]
        weight.accumulate(embedding.backward(drows, Saved(self.ids, weight.shape, weight.dtype, None)))


def _scale(like):
    """d / D for d = 1 ... D, as `like` (..., D)."""
    D = like.shape[-1]
    return (devices.array_module(like).arange(1, D + 1) / D).astype(like.dtype)  # (D,)
