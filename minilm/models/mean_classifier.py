"""A bag of words: a classifier by the mean vector of words and n-grams (see `minilm.models.classifier`)."""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.layers import Dropout, Linear, MeanPooling, initialisers
from minilm.models.classifier import Classifier
from minilm.models.word_embedding import WordEmbedding
from minilm.ops import activations, checks
from minilm.ops.padding import mask_from_lengths
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["MeanClassifier"]


class MeanClassifier(Classifier):
    """The mean of the vectors of a text's words and n-grams.

    ::

        grams = ids of the words, and for n = 2 ... N of each n words in a row, hashed into buckets
        x     = mean of E[grams]             without order but for what the n-grams hold
        x     = tanh(x W_hᵀ + b_h)           where there is a hidden layer

    Parameters
    ----------
    vocab_size, num_labels : int
    embedding_size : int
    ngrams : int
        N: 1 for words alone.
    buckets : int
        Rows of the table for n-grams of all lengths; those that fall into one bucket share a vector.
    hidden_size : int, optional
        Width of a hidden layer; without it the mean goes to the labels as it is.
    unk_id : int, optional
        The id of unknown words: its vector is zero, as that of a word that is dropped, and is not learned.
    fixed_words : int
        How many further words there are, with ids from `vocab_size` on, whose vectors are not learned: see
        `minilm.models.word_embedding`.
    word_dropout : float
        Probability with which a word or an n-gram is left out of the mean.
    dropout, label_smoothing, seed, dtype
        See `Classifier`.

    References
    ----------
    A. Joulin, E. Grave, P. Bojanowski, T. Mikolov, Bag of tricks for efficient text classification, EACL 2017 (the n-grams).
    M. Iyyer, V. Manjunatha, J. Boyd-Graber, H. Daumé III, Deep unordered composition rivals syntactic methods for text
    classification, ACL 2015 (hidden layers, and dropping words).
    """

    def __init__(
        self,
        vocab_size: int,
        num_labels: int,
        *,
        embedding_size: int = 64,
        ngrams: int = 2,
        buckets: int = 2**16,
        hidden_size: int | None = None,
        unk_id: int | None = None,
        fixed_words: int = 0,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
    ):
        super().__init__(num_labels, dropout=dropout, label_smoothing=label_smoothing, seed=seed, dtype=dtype)
        self.vocab_size = checks.whole("vocab_size", vocab_size, 1, 2**31)
        self.ngrams = checks.whole("ngrams", ngrams, 1, 9)
        self.buckets = checks.whole("buckets", buckets, 1, 2**31) if ngrams > 1 else 0
        # small, so that a word that is never seen again adds little
        more = {"fixed_words": fixed_words, "initialise": initialisers.normal(0.1), **self._options}
        self.embedding = WordEmbedding(vocab_size + self.buckets, embedding_size, unk_id, **more)
        self.word_dropout = Dropout(word_dropout, shared_axis=2)
        self.pooling = MeanPooling()
        self.hidden = None if hidden_size is None else Linear(embedding_size, hidden_size, **self._options)
        self._make_head(hidden_size or embedding_size)

    def grams(self, ids: Ids, lengths: Ids | None = None) -> tuple[Ids, Array]:
        """Rows of the table for each word and each n-gram.

        Returns
        -------
        rows : ndarray of int64, shape (B, G)
            First those of the T words, then those of the T - 1 pairs, and so on.
        mask : ndarray of bool, shape (B, G)
            Which of them lie within the text.
        """
        V = self.vocab_size
        ids, lengths = self._checked(ids, lengths, V + self.embedding.fixed_words)
        B, T = ids.shape
        module = devices.array_module(ids)
        lengths = module.full(B, T, np.int64) if lengths is None else lengths  # (B,)
        own = module.where(ids < V, ids, ids + self.buckets).astype(np.int64)  # (B, T); fixed words lie behind the buckets
        rows, masks = [own], [mask_from_lengths(lengths, T)]  # (B, T) each
        code = ids.astype(np.uint64)  # (B, T)
        for n in range(2, min(self.ngrams, T) + 1):
            code = _mixed(code[:, :-1], ids[:, n - 1 :])  # (B, T - n + 1)
            rows.append((V + code % np.uint64(self.buckets)).astype(np.int64))
            masks.append(module.arange(n - 1, T) < lengths[:, None])  # its last word is within the text
        return module.concatenate(rows, axis=1), module.concatenate(masks, axis=1)

    def _vectors(self, ids, lengths, key):
        rows, mask = self.grams(ids, lengths)
        x, embedded = self.embedding.forward(rows)  # (B, G, E)
        x, dropped = self.word_dropout.forward(x, key=key)
        x, pooled = self.pooling.forward(x, mask)  # (B, E)
        hidden = curve = None
        if self.hidden is not None:
            x, hidden = self.hidden.forward(x)  # (B, H)
            x, curve = activations.tanh.forward(x)
        return x, (embedded, dropped, pooled, hidden, curve)

    def _vectors_backward(self, dx, saved):
        embedded, dropped, pooled, hidden, curve = saved
        if self.hidden is not None:
            dx = activations.tanh.backward(dx, curve)  # (B, H)
            dx = self.hidden.backward(dx, hidden)  # (B, E)
        dx = self.pooling.backward(dx, pooled)  # (B, G, E)
        dx = self.word_dropout.backward(dx, dropped)
        self.embedding.backward(dx, embedded)

    def settings(self) -> str:
        return f"{self.vocab_size}, {self.num_labels}, ngrams={self.ngrams}"


def _mixed(code, ids):
    """A 64-bit hash of a hash (or first id) and the id after it: multiply and shift, as in splitmix64."""
    with np.errstate(over="ignore"):
        code = (code + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9) + ids.astype(np.uint64)  # (B, T)
        code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))
