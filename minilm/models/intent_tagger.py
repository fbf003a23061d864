"""A tagger that says what the whole sentence is, besides: what somebody wants, and the words that say of what.

::

    h      = the states of `minilm.models.Tagger`         (T, 2H)
    u      = sum_t a[t] h[t]                              (2H,)    a: weights by attention, `minilm.layers.AttentionPooling`
    logits = dropout(u) Vᵀ + d                            (C,)     scores of the C classes
    loss   = the tagger's + mean over sentences of -log softmax(logits)[class]

Both losses send a gradient by h; they are summed.

Reference: B. Liu, I. Lane, Attention-based recurrent neural network models for joint intent detection and slot filling,
Interspeech 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import AttentionPooling, Linear
from minilm.layers.sequences import contiguous
from minilm.models.tagger import Saved, Spelling, Tagger
from minilm.ops import checks, cross_entropy, softmax
from minilm.ops.padding import mask_from_lengths
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["IntentTagger"]


class SavedIntent(NamedTuple):
    """What backward of an `IntentTagger` needs."""

    tags: Saved
    pooled: Any
    dropped: Any
    head: Any
    loss: Any


class IntentTagger(Tagger):
    """A tagger that says what the whole sentence is, besides: an intent and its slots.

    Parameters
    ----------
    vocab_size, num_tags : int
    num_classes : int
        C.
    cell, embedding_size, hidden_size, num_layers, characters, character_size, unk_id, fixed_words, word_dropout,
    dropout, seed, dtype
        As `Tagger`'s.
    """

    def __init__(
        self,
        vocab_size: int,
        num_tags: int,
        num_classes: int,
        *,
        cell: str = "lstm",
        embedding_size: int = 64,
        hidden_size: int = 64,
        num_layers: int = 1,
        characters: int | None = None,
        character_size: int = 24,
        unk_id: int | None = None,
        fixed_words: int = 0,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
    ):
        super().__init__(
            vocab_size,
            num_tags,
            cell=cell,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            characters=characters,
            character_size=character_size,
            unk_id=unk_id,
            fixed_words=fixed_words,
            word_dropout=word_dropout,
            dropout=dropout,
            seed=seed,
            dtype=dtype,
        )
        self.num_classes = checks.whole("num_classes", num_classes, 1, 2**31)
        more = {"dtype": self.dtype, "seed": self._generator}
        self.pooling = AttentionPooling(self.output.in_features, **more)
        self.classifier = Linear(self.output.in_features, self.num_classes, **more)

    def forward(
        self,
        ids: Ids,
        tags: Ids,
        classes: Ids,
        lengths: Ids | None = None,
        spelling: Spelling | None = None,
        *,
        key: Key | None = None,
    ) -> tuple[Scalar, SavedIntent]:
        """The loss of a batch.

        Parameters
        ----------
        ids, tags, lengths, spelling, key
            See `Tagger.forward`.
        classes : ndarray of integers, shape (B,)
            Each in [0, C).

        Returns
        -------
        loss : scalar
        saved : SavedIntent
        """
        h, parts, lengths = self._states(ids, lengths, spelling, None, key)  # (T, B, 2H)
        tags_loss, saved_tags = self._tags_loss(h, parts, tags, lengths)
        logits, pooled, dropped, head = self._classes(h, lengths, key)  # (B, C)
        classes = checks.ids("classes", classes, self.num_classes, logits.shape[:1], "(B,)")
        class_loss, saved = cross_entropy.forward(logits, classes)
        return tags_loss + class_loss, SavedIntent(saved_tags, pooled, dropped, head, saved)

    def backward(self, saved: SavedIntent, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, C)
        du = self.dropout.backward(self.classifier.backward(dlogits, saved.head), saved.dropped)  # (B, 2H)
        dy = self.pooling.backward(du, saved.pooled)  # (B, T, 2H)
        dh = self._tags_backward(saved.tags, dloss)  # (T, B, 2H)
        dh += dy.transpose(1, 0, 2)
        self._states_backward(dh, saved.tags.parts)

    def read(
        self, ids: Ids, lengths: Ids | None = None, spelling: Spelling | None = None, *, allowed: Array | None = None
    ) -> tuple[Array, Ids]:
        """Probabilities (B, C) of the classes, and the best tags (B, T). Arguments: see `Tagger.decode`."""
        h, _, lengths = self._states(ids, lengths, spelling, None, None)  # (T, B, 2H)
        logits = self._classes(h, lengths, None)[0]  # (B, C)
        return softmax.forward(logits)[0], self.crf.decode(self._emissions(h)[0], lengths, allowed=allowed)[0]

    def _classes(self, h, lengths, key):
        """Logits (B, C) of the states h (T, B, 2H), and what backward needs of them."""
        mask = None if lengths is None else mask_from_lengths(lengths, len(h))  # (B, T)
        u, pooled = self.pooling.forward(contiguous(h.transpose(1, 0, 2)), mask)  # (B, 2H)
        u, dropped = self.dropout.forward(u, key=at(key, "pooled"))
        logits, head = self.classifier.forward(u)
        return logits, pooled, dropped, head
