"""Classifiers of texts: a vector for each text, then one affine map.

::

    mean_classifier.py       x = mean over words and n-grams of E[id]                      a bag of words
    recurrent_classifier.py  x = sum_t a[t] h[t],  h = both directions of an LSTM or GRU   words in order, weighted by attention
    bert_classifier.py       x = mean over tokens of BERT's vectors                        a pretrained encoder, fine-tuned

    logits = dropout(x) Wᵀ + b     (B, C)         loss = mean cross-entropy of the labels

Texts come as ids (B, T), padded at their ends, and their lengths (B,).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import Dropout, Layer, Linear
from minilm.layers.base import generator_of
from minilm.ops import checks, cross_entropy, softmax
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["Classifier"]


class Saved(NamedTuple):
    """What backward needs."""

    body: Any  # what `_vectors` saved
    dropped: Any
    head: Any  # what the affine map saved
    loss: Any  # what cross_entropy saved


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
        """x (B, F), a vector for each text of ids (B, T), and what `_vectors_backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no _vectors")

    def _vectors_backward(self, dx, saved) -> None:
        """Add the gradients by the parameters below the head to their buffer, for dx (B, F)."""
        raise NotImplementedError(f"{type(self).__name__} has no _vectors_backward")

    def settings(self) -> str:
        return f"num_labels={self.num_labels}"
