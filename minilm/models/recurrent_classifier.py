"""Words in order: a classifier by both directions of an LSTM or GRU, and attention over them (see `minilm.models.classifier`)."""

from __future__ import annotations

import numpy as np

from minilm.layers import GRU, LSTM, AttentionPooling, Dropout, MeanPooling, initialisers
from minilm.layers.sequences import contiguous, time_first
from minilm.models.classifier import Classifier
from minilm.models.word_embedding import WordEmbedding
from minilm.ops import checks
from minilm.ops.padding import mask_from_lengths
from minilm.random import at
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["RecurrentClassifier"]


class RecurrentClassifier(Classifier):
    """Both directions of an LSTM or GRU over a text, and a mean of its steps weighted by attention.

    ::

        h[t] = [forward[t]; backward[t]]            (2H,)     of the last of num_layers layers
        x    = sum_t a[t] h[t],  sum_t a[t] = 1     (2H,)     `minilm.layers.AttentionPooling`, or the plain mean

    Parameters
    ----------
    vocab_size, num_labels : int
    cell : {"lstm", "gru"}
    embedding_size, hidden_size, num_layers : int
        H is the width of one direction.
    pooling : {"attention", "mean"}
    attention_size : int, optional
        Width of the attention's hidden layer; 2H without it.
    unk_id : int, optional
        The id of unknown words: its vector is zero, as that of a word that is dropped, and is not learned.
    fixed_words : int
        How many further words there are, with ids from `vocab_size` on, whose vectors are not learned: see
        `minilm.models.word_embedding`.
    word_dropout : float
        Probability with which the whole vector of a word is zero.
    dropout, label_smoothing, seed, dtype
        See `Classifier`; dropout also of the words' vectors, and of what one layer hands to the next.

    References
    ----------
    P. Zhou et al., Attention-based bidirectional long short-term memory networks for relation classification, ACL 2016.
    Z. Yang et al., Hierarchical attention networks for document classification, NAACL 2016.
    """

    def __init__(
        self,
        vocab_size: int,
        num_labels: int,
        *,
        cell: str = "lstm",
        embedding_size: int = 100,
        hidden_size: int = 100,
        num_layers: int = 1,
        pooling: str = "attention",
        attention_size: int | None = None,
        unk_id: int | None = None,
        fixed_words: int = 0,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
    ):
        super().__init__(num_labels, dropout=dropout, label_smoothing=label_smoothing, seed=seed, dtype=dtype)
        kind = {"lstm": LSTM, "gru": GRU}[checks.option("cell", cell, ("lstm", "gru"))]
        checks.option("pooling", pooling, ("attention", "mean"))
        self.vocab_size, more = checks.whole("vocab_size", vocab_size, 1, 2**31), self._options
        start = {"fixed_words": fixed_words, "initialise": initialisers.normal(0.3)}
        self.embedding = WordEmbedding(vocab_size, embedding_size, unk_id, **start, **more)
        self.word_dropout = Dropout(word_dropout, shared_axis=2)
        recurrent = {"bidirectional": True, "batch_first": False, "dropout": dropout, "orthogonal": True}
        self.recurrent = kind(embedding_size, hidden_size, num_layers, **recurrent, **more)
        width = 2 * hidden_size
        self.pooling = MeanPooling() if pooling == "mean" else AttentionPooling(width, attention_size, **more)
        self._make_head(width)

    def _vectors(self, ids, lengths, key):
        ids, lengths = self._checked(ids, lengths, self.embedding.words)
        x, embedded = self.embedding.forward(ids.T)  # (T, B, E)
        x, words = self.word_dropout.forward(x, key=at(key, "word_dropout"))
        x, dropped = self.dropout.forward(x, key=at(key, "dropout"))
        output, recurrent = self.recurrent.forward(x, lengths=lengths, key=at(key, "recurrent"))
        h = contiguous(output.y.transpose(1, 0, 2))  # (B, T, 2H)
        y, pooled = self.pooling.forward(h, mask_from_lengths(lengths, ids.shape[1]))  # (B, 2H)
        return y, (embedded, words, dropped, recurrent, pooled)

    def _vectors_backward(self, dx, saved):
        embedded, words, dropped, recurrent, pooled = saved
        dh = self.pooling.backward(dx, pooled)  # (B, T, 2H)
        dy = time_first(dh, True)  # (T, B, 2H)
        dx, _ = self.recurrent.backward(dy, recurrent)  # (T, B, E)
        dx = self.dropout.backward(dx, dropped)
        dx = self.word_dropout.backward(dx, words)
        self.embedding.backward(dx, embedded)

    def attention(self, ids: Ids, lengths: Ids | None = None) -> Array:
        """How much each word counted, (B, T): rows add up to 1, and are 0 beyond a text's end.

        Raises
        ------
        ValueError
            The model was made with ``pooling="mean"``.
        """
        if isinstance(self.pooling, MeanPooling):
            raise ValueError("this model has pooling='mean', so every word counts the same: there is no attention to show")
        pooled = self._vectors(ids, lengths, None)[1][-1]
        return pooled[1].weights[:, 0]

    def settings(self) -> str:
        return f"{self.vocab_size}, {self.num_labels}"
