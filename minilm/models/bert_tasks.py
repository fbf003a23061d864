"""BERT with a head for a task: a label of a text, a label of each token, a span that answers a question.

::

    sequence    logits = dropout(pooled) Wᵀ + b        (B, C)        loss: mean cross-entropy of the labels
    token       logits = dropout(hidden) Wᵀ + b        (B, T, C)     likewise, of the tokens whose label is not -100
    span        logits = hidden Wᵀ + b                 (B, T, 2)     start and end: mean of the cross-entropies over the T places

Backward: dlogits of the cross-entropy, of which start and end of a span get a half each; then the map, the dropout, and BERT by
``pooled`` or ``hidden``.

Names of parameters are Hugging Face's: ``bert.*``, and ``classifier`` or ``qa_outputs``.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilm.layers import Dropout, Layer, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.layers.sequences import side_by_side
from minilm.models.bert import BERT
from minilm.models.bert_config import BERTConfig
from minilm.models.pretrained import Pretrained
from minilm.ops import checks, cross_entropy
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["BERTForQuestionAnswering", "BERTForSequenceClassification", "BERTForTokenClassification"]


class Saved(NamedTuple):
    """What backward needs."""

    body: Any  # what BERT saved
    dropped: Any
    head: Any  # what the affine map saved
    loss: Any  # what cross_entropy saved; of a span for start and end


class _Task(Pretrained, Layer):
    """What the heads share: the encoder, and one affine map of what it gives."""

    may_lack = ("classifier.", "qa_outputs.", "pooler.")
    head = "classifier"  # the attribute that holds the map, by Hugging Face's name
    pooled = False  # whether it reads the vector of the whole text, or those of the tokens

    def __init__(self, config: BERTConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        options = {"dtype": dtype, "seed": generator}
        self.bert = BERT(config, pooler=self.pooled, **options)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = Dropout(rate if self.head == "classifier" else 0.0)
        start = initialisers.normal(config.initializer_range)
        outputs = config.num_labels if self.head == "classifier" else 2
        setattr(self, self.head, Linear(config.hidden_size, outputs, initialise=start, **options))

    def _logits(self, ids, token_type_ids, key_mask, key):
        """Logits of the task's shape, and what BERT, dropout and the map saved."""
        output, body = self.bert.forward(ids, token_type_ids, key_mask, key=at(key, "bert"))
        x = output.pooled if self.pooled else output.hidden  # (B, D) or (B, T, D)
        x, dropped = self.dropout.forward(x, key=at(key, "dropout"))
        logits, head = getattr(self, self.head).forward(x)
        return logits, (body, dropped, head)

    def logits(self, ids: Ids, token_type_ids: Ids | None = None, key_mask: Array | None = None) -> Array:
        """Logits, of the shape that the module's docstring gives for each task.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        token_type_ids, key_mask
            See `BERT.forward`.
        """
        return self._logits(ids, token_type_ids, key_mask, None)[0]

    def settings(self) -> str:
        return self.bert.settings()

    def forward(
        self, ids: Ids, labels: Ids, token_type_ids: Ids | None = None, key_mask: Array | None = None, *, key: Key | None = None
    ) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        labels : ndarray of integers, shape (B,), or (B, T) for labels of tokens
            Each in [0, num_labels), or -100 where it does not count.
        token_type_ids, key_mask, key
            See `BERT.forward`.

        Returns
        -------
        loss : scalar
        saved : Saved
        """
        logits, parts = self._logits(ids, token_type_ids, key_mask, key)
        labels = checks.ids("labels", labels, logits.shape[-1], logits.shape[:-1], ignore=-100)
        loss, saved = cross_entropy.forward(logits, labels)
        return loss, Saved(*parts, saved)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        self._backward(cross_entropy.backward(dloss, saved.loss), saved)

    def _backward(self, dlogits, saved):
        dx = getattr(self, self.head).backward(dlogits, saved.head)
        dx = self.dropout.backward(dx, saved.dropped)
        self.bert.backward((None, dx) if self.pooled else (dx, None), saved.body)


class BERTForSequenceClassification(_Task):
    """A label for each text.

    Parameters
    ----------
    config : BERTConfig
        With ``num_labels`` C.
    seed : int, Generator or None
    dtype : {float32, float64}
    """

    hugging_face: ClassVar = {"bert": "BertForSequenceClassification"}
    may_exceed = ("cls.", "qa_outputs.")
    pooled = True


class BERTForTokenClassification(_Task):
    """A label for each token; parameters as `BERTForSequenceClassification`'s."""

    hugging_face: ClassVar = {"bert": "BertForTokenClassification"}
    may_exceed = ("cls.", "qa_outputs.", "pooler.")


class BERTForQuestionAnswering(_Task):
    """The span of a text that answers a question: where it starts, and where it ends.

    Parameters
    ----------
    config : BERTConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Notes
    -----
    `logits` gives (B, T, 2), of the start and of the end.
    """

    hugging_face: ClassVar = {"bert": "BertForQuestionAnswering"}
    may_exceed = ("cls.", "classifier.", "pooler.")
    head = "qa_outputs"

    def forward(
        self, ids: Ids, spans: Ids, token_type_ids: Ids | None = None, key_mask: Array | None = None, *, key: Key | None = None
    ) -> tuple[Scalar, Saved]:
        """The loss of a batch.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        spans : ndarray of integers, shape (B, 2)
            The first and the last token of each answer, in [0, T), or -100 where it does not count.
        token_type_ids, key_mask, key
            See `BERT.forward`.

        Returns
        -------
        loss : scalar
        saved : Saved
        """
        logits, parts = self._logits(ids, token_type_ids, key_mask, key)  # (B, T, 2)
        spans = checks.ids("spans", spans, logits.shape[1], (len(logits), 2), "(B, 2)", ignore=-100)
        loss_start, saved_start = cross_entropy.forward(logits[..., 0], spans[:, 0])
        loss_end, saved_end = cross_entropy.forward(logits[..., 1], spans[:, 1])
        return (loss_start + loss_end) / 2, Saved(*parts, (saved_start, saved_end))

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer."""
        dstart, dend = (cross_entropy.backward(dloss / 2, each) for each in saved.loss)  # (B, T) each
        self._backward(side_by_side(dstart[..., None], dend[..., None]), saved)  # dlogits (B, T, 2)
