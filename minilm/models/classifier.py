"""Classifiers of texts: a vector for each text, then one affine map.

::

    MeanClassifier       x = mean over words and n-grams of E[id]                      a bag of words
    RecurrentClassifier  x = sum_t a[t] h[t],  h = both directions of an LSTM or GRU   words in order, weighted by attention
    BERTClassifier       x = mean over tokens of BERT's vectors                        a pretrained encoder, fine-tuned

    logits = dropout(x) Wᵀ + b     (B, C)         loss = mean cross-entropy of the labels

Texts come as ids (B, T), padded at their ends, and their lengths (B,).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import GRU, LSTM, AttentionPooling, Dropout, Layer, Linear, MeanPooling, initialisers
from minilm.layers.base import generator_of
from minilm.models.word_embedding import WordEmbedding
from minilm.ops import activations, checks, cross_entropy, softmax
from minilm.ops.padding import mask_from_lengths
from minilm.ops.workspace import empty
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["Classifier", "MeanClassifier", "RecurrentClassifier"]


class Saved(NamedTuple):
    """What backward needs."""

    body: Any
    dropped: Any
    head: Any
    loss: Any


class Classifier(Layer):
    """What all classifiers share: the affine map to the labels, and the loss.

    A kind of its own fills in ``_vectors(ids, lengths, key) -> (x, saved)`` with x (B, F), and
    ``_vectors_backward(dx, saved)``, and calls `_make_head` at the end of its constructor.

    Parameters
    ----------
    num_labels : int
        C.
    dropout : float
        Of x.
    label_smoothing : float
        See `minilm.ops.cross_entropy.forward`.
    seed : int, Generator or None
    dtype : {float32, float64}
    """

    def __init__(
        self, num_labels: int, *, dropout: float = 0.0, label_smoothing: float = 0.0, seed: Seed = 0, dtype: DType = np.float32
    ):
        super().__init__(dtype=dtype, seed=generator_of(seed))
        self.num_labels = checks.whole("num_labels", num_labels, 1, 2**31)
        self.dropout = Dropout(dropout)
        self.label_smoothing = checks.number("label_smoothing", label_smoothing, 0, 1)

    @property
    def _options(self) -> dict:
        return {"dtype": self.dtype, "seed": self._generator}

    def _make_head(self, width: int, initialise=None) -> None:
        self.classifier = Linear(width, self.num_labels, initialise=initialise, **self._options)

    def _checked(self, ids, lengths, vocab_size: int):
        """ids (B, T) and lengths (B,) or None, fit for a kernel."""
        ids = checks.ids("ids", ids, vocab_size, (None, None), "(B, T)")
        if ids.size == 0:
            raise ValueError(f"ids must hold at least one text and one id, got shape {ids.shape}")
        return ids, checks.lengths("lengths", lengths, *ids.shape)

    def _logits(self, ids, lengths, key):
        x, body = self._vectors(ids, lengths, at(key, "body"))  # (B, F)
        x, dropped = self.dropout.forward(x, key=at(key, "dropout"))
        logits, head = self.classifier.forward(x)  # (B, C)
        return logits, (body, dropped, head)

    def logits(self, ids: Ids, lengths: Ids | None = None) -> Array:
        """Scores (B, C) of the labels for ids (B, T) and lengths (B,), without dropout."""
        return self._logits(ids, lengths, None)[0]

    def probabilities(self, ids: Ids, lengths: Ids | None = None) -> Array:
        """Probabilities (B, C) of the labels."""
        return softmax.forward(self.logits(ids, lengths))[0]

    def forward(self, ids: Ids, labels: Ids, lengths: Ids | None = None, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            Each in [0, V).
        labels : ndarray of integers, shape (B,)
            Each in [0, C), or -100 where it does not count.
        lengths : ndarray of integers, shape (B,), optional
            How many ids of each row count: at least 1.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        loss : scalar
            Mean cross-entropy, in nats a text.
        saved : Saved
        """
        logits, parts = self._logits(ids, lengths, key)
        labels = checks.ids("labels", labels, self.num_labels, logits.shape[:1], "(B,)", ignore=-100)
        loss, saved = cross_entropy.forward(logits, labels, label_smoothing=self.label_smoothing)
        return loss, Saved(*parts, saved)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, C)
        dx = self.classifier.backward(dlogits, saved.head)  # (B, F)
        dx = self.dropout.backward(dx, saved.dropped)
        self._vectors_backward(dx, saved.body)

    def _vectors(self, ids, lengths, key):
        raise NotImplementedError(f"{type(self).__name__} has no _vectors")

    def _vectors_backward(self, dx, saved) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _vectors_backward")


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


def _mixed(code, ids):
    """A 64-bit hash of a hash (or first id) and the id after it: multiply and shift, as in splitmix64."""
    with np.errstate(over="ignore"):
        code = (code + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9) + ids.astype(np.uint64)  # (B, T)
        code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


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
        B, T = ids.shape
        x, embedded = self.embedding.forward(ids.T)  # (T, B, E)
        x, words = self.word_dropout.forward(x, key=at(key, "word_dropout"))
        x, dropped = self.dropout.forward(x, key=at(key, "dropout"))
        output, recurrent = self.recurrent.forward(x, lengths=lengths, key=at(key, "recurrent"))
        h = empty((B, T, output.y.shape[2]), self.dtype, like=output.y)  # (B, T, 2H)
        h[...] = output.y.transpose(1, 0, 2)
        y, pooled = self.pooling.forward(h, mask_from_lengths(lengths, T))  # (B, 2H)
        return y, (embedded, words, dropped, recurrent, pooled)

    def _vectors_backward(self, dx, saved):
        embedded, words, dropped, recurrent, pooled = saved
        dh = self.pooling.backward(dx, pooled)  # (B, T, 2H)
        dy = empty((dh.shape[1], *dh.shape[::2]), self.dtype, like=dh)  # (T, B, 2H)
        dy[...] = dh.transpose(1, 0, 2)
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
