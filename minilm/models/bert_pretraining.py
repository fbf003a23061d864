"""BERT's two tasks of pretraining: words that are masked, and whether one sentence follows another.

::

    z      = norm(gelu(y W_tᵀ + b_t))              (M, D)         at the M masked places only
    logits = z wordᵀ + b                           (M, V)         the output shares the tokens' table, or has its own (untied)
    next   = pooled W_nᵀ + b_n                     (B, 2)         0: the second sentence follows the first, 1: it does not
    loss   = mean cross-entropy of the masked tokens + mean cross-entropy of next

Only masked places are mapped to the vocabulary, which for 15 % of the tokens saves most of that product; loss and gradients are
those of mapping all of them. On a GPU the host must know how many they are before it launches anything, so that
there a batch brings their places along, as many for each row (the ``masked_lm_positions`` of the authors' own program); those
among them where nothing is to be predicted count for nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import Layer, LayerNorm, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.models.bert import BERT
from minilm.models.bert_config import BERTConfig
from minilm.models.pretrained import Pretrained
from minilm.ops import activations, checks, cross_entropy, embedding
from minilm.random import Key, at
from minilm.typing import Array, DType, Ids, Scalar, Seed

__all__ = ["BERTForPreTraining"]


class Transform(Layer):
    """Affine map, GELU, normalisation."""

    def __init__(self, config: BERTConfig, **options):
        super().__init__(**options)
        D, self.activation = config.hidden_size, config.activation
        self.dense = Linear(D, D, initialise=initialisers.normal(config.initializer_range), **options)
        self.LayerNorm = LayerNorm(D, config.layer_norm_eps, dtype=self.dtype)

    def forward(self, x, *, key=None):
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        a, dense = self.dense.forward(x)
        h, curve = getattr(activations, self.activation).forward(a)
        y, norm = self.LayerNorm.forward(h)
        return y, (dense, curve, norm)

    def backward(self, dy, saved):
        """Returns dx (..., D)."""
        dh = self.LayerNorm.backward(dy, saved[2])
        da = getattr(activations, self.activation).backward(dh, saved[1])
        return self.dense.backward(da, saved[0])


class Predictions(Layer):
    """Logits of the tokens that may stand at a place."""

    def __init__(self, config: BERTConfig, word, **options):
        super().__init__(**options)
        self.transform = Transform(config, **options)
        start = initialisers.normal(config.initializer_range)
        word = word if config.tie_word_embeddings else None
        self.decoder = Linear(config.hidden_size, config.vocab_size, weight=word, initialise=start, **options)
        if config.tie_word_embeddings:
            self.bias = self.decoder.bias  # its name in Hugging Face's files

    def forward(self, x, *, key=None):
        """Returns logits (..., V) for x (..., D), and what `backward` needs."""
        y, transform = self.transform.forward(x)
        logits, decoder = self.decoder.forward(y)
        return logits, (transform, decoder)

    def backward(self, dlogits, saved):
        """Returns dx (..., D)."""
        dy = self.decoder.backward(dlogits, saved[1])
        return self.transform.backward(dy, saved[0])


class Heads(Layer):
    """Both heads of pretraining: masked tokens, and the next sentence."""

    def __init__(self, config: BERTConfig, word, **options):
        super().__init__(**options)
        self.predictions = Predictions(config, word, **options)
        start = initialisers.normal(config.initializer_range)
        self.seq_relationship = Linear(config.hidden_size, 2, initialise=start, **options)


class Saved(NamedTuple):
    """What backward needs, and the two losses."""

    body: Any  # what the encoder saved
    shape: tuple[int, int, int]  # (B, T, D)
    masked: tuple  # what the gather of the masked places, the head and cross_entropy saved
    next: tuple | None  # likewise
    losses: tuple  # of masked tokens, of next sentences if these were given


class Scores(NamedTuple):
    """How well a batch was predicted."""

    loss: float  # of the masked tokens, mean
    masked: int  # how many there are
    hits: int  # of which the most probable token is the right one
    next_loss: float  # mean; 0 where nothing is known of next sentences
    next_hits: int  # of B pairs


class BERTForPreTraining(Pretrained, Layer):
    """BERT with both heads of pretraining.

    Parameters
    ----------
    config : BERTConfig
    seed : int, Generator or None
    dtype : {float32, float64}

    Notes
    -----
    Parameters: ``bert.*`` and ``cls.*`` by Hugging Face's names, see `minilm.models.bert`.
    """

    hugging_face: ClassVar = {"bert": "BertForPreTraining"}
    may_lack = ("cls.", "pooler.")
    may_exceed = ("classifier.", "qa_outputs.", "cls.predictions.bias")  # untied, transformers has two biases and uses one
    carries_state = False
    objective = "masked"

    def __init__(self, config: BERTConfig, *, seed: Seed = 0, dtype: DType = np.float32):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.config = config
        options = {"dtype": dtype, "seed": generator}
        self.bert = BERT(config, **options)
        self.cls = Heads(config, self.bert.embeddings.word_embeddings.weight, **options)

    @property
    def context(self) -> int:
        """Most tokens the model sees at once."""
        return self.config.max_position_embeddings

    def forward(
        self,
        ids: Ids,
        targets: Ids,
        token_type_ids: Ids | None = None,
        key_mask: Array | None = None,
        next_sentence: Ids | None = None,
        places: Ids | None = None,
        *,
        key: Key | None = None,
    ) -> tuple[Scalar, Saved]:
        """The loss of a batch, as `minilm.data.PretrainingBatches` gives it.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
            With masked tokens in them.
        targets : ndarray of integers, shape (B, T)
            What stood there before, and -100 where nothing is to be predicted. At least one is.
        token_type_ids, key_mask
            See `BERT.forward`.
        next_sentence : ndarray of integers, shape (B,), optional
            0 where the second segment follows the first in the text, 1 where it does not.
        places : ndarray of integers, shape (B, M), optional
            Positions of each row among which all are whose target counts, none twice: `minilm.data.masked_places` finds them.
            Without it they are looked for here, which on a GPU waits for it.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        loss : scalar
        saved : Saved
        """
        targets, rows = self._masked(ids, targets, places)  # (M,) each, of all rows
        (hidden, pooled), body = self.bert.forward(ids, token_type_ids, key_mask, key=at(key, "bert"))
        picked, gather = embedding.forward(rows, hidden.reshape(-1, hidden.shape[2]))  # (M, D)
        logits, head = self.cls.predictions.forward(picked)  # (M, V)
        loss, saved_loss = cross_entropy.forward(logits, targets)
        losses, follows = (loss,), None
        if next_sentence is not None:
            labels = checks.ids("next_sentence", next_sentence, 2, (len(hidden),), "(B,)")
            logits, relationship = self.cls.seq_relationship.forward(pooled)  # (B, 2)
            loss, saved_next = cross_entropy.forward(logits, labels)
            losses, follows = (*losses, loss), (relationship, saved_next)
        return sum(losses), Saved(body, hidden.shape, (gather, head, saved_loss), follows, losses)  # type: ignore[return-value]

    def backward(self, saved: Saved, *, dloss: float | tuple[float, float] = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer; two numbers weight the two losses."""
        weights = dloss if isinstance(dloss, tuple) else (dloss, dloss)
        gather, head, saved_loss = saved.masked
        dlogits = cross_entropy.backward(weights[0], saved_loss)  # (M, V)
        dpicked = self.cls.predictions.backward(dlogits, head)  # (M, D)
        dhidden = embedding.backward(dpicked, gather).reshape(saved.shape)  # (B, T, D)
        dpooled = None
        if saved.next is not None:
            relationship, saved_next = saved.next
            dnext = cross_entropy.backward(weights[1], saved_next)  # (B, 2)
            dpooled = self.cls.seq_relationship.backward(dnext, relationship)  # (B, D)
        self.bert.backward((dhidden, dpooled), saved.body)

    def logits(self, ids: Ids, token_type_ids: Ids | None = None, key_mask: Array | None = None) -> tuple[Array, Array]:
        """Logits of the token at each place, (B, T, V), and of whether the next sentence follows, (B, 2): 0 is yes.

        Parameters
        ----------
        ids : ndarray of integers, shape (B, T)
        token_type_ids, key_mask
            See `BERT.forward`.
        """
        (hidden, pooled), _ = self.bert.forward(ids, token_type_ids, key_mask)
        tokens, _ = self.cls.predictions.forward(hidden)  # (B, T, V)
        return tokens, self.cls.seq_relationship.forward(pooled)[0]

    def score(
        self,
        ids: Ids,
        targets: Ids,
        token_type_ids: Ids | None = None,
        key_mask: Array | None = None,
        next_sentence: Ids | None = None,
        places: Ids | None = None,
    ) -> Scores:
        """How well a batch is predicted, without dropout. Arguments: see `forward`."""
        targets, rows = self._masked(ids, targets, places)
        (hidden, pooled), _ = self.bert.forward(ids, token_type_ids, key_mask)
        picked, _ = embedding.forward(rows, hidden.reshape(-1, hidden.shape[2]))  # (M, D)
        logits, _ = self.cls.predictions.forward(picked)  # (M, V)
        loss, _ = cross_entropy.forward(logits, targets, gradient=False)
        masked, hits = (targets != -100).sum(), (logits.argmax(axis=1) == targets).sum()
        scores = Scores(float(loss), int(masked), int(hits), 0.0, 0)
        if next_sentence is None:
            return scores
        logits, _ = self.cls.seq_relationship.forward(pooled)  # (B, 2)
        loss, _ = cross_entropy.forward(logits, next_sentence, gradient=False)
        return scores._replace(next_loss=float(loss), next_hits=int((logits.argmax(axis=1) == next_sentence).sum()))

    def _masked(self, ids, targets, places):
        """Targets (M,), and where they stand among the B T (M,): at `places` of each row, or just where a target counts."""
        if not checks.is_array(ids):
            raise TypeError(f"ids must be a numpy array of integers, got {checks.describe(ids)}")
        module = devices.array_module(ids)
        targets = checks.ids("targets", targets, self.config.vocab_size, ids.shape, "(B, T)", ignore=-100)
        if places is None:
            rows = module.flatnonzero(targets != -100)  # (M,)
        else:
            B, T = ids.shape
            places = checks.ids("places", places, T, (B, None), "(B, M)")
            rows = (places + T * module.arange(B)[:, None]).reshape(-1)  # (M,)
        targets = targets.reshape(-1)[rows]  # (M,)
        # of places on a GPU only their number is known here; without a target among them the loss is NaN
        if not len(rows) or (module is np and (targets == -100).all()):
            raise ValueError("targets must hold at least one token to predict, all are -100")
        return targets, rows

    def settings(self) -> str:
        return self.bert.settings()
