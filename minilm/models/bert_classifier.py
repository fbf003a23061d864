"""A classifier of texts on a pretrained BERT: a mean of the tokens' vectors, or the first token's, and one affine map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minilm.layers import MeanPooling, initialisers
from minilm.layers.base import Layer
from minilm.layers.sequences import contiguous
from minilm.models.bert import BERT
from minilm.models.bert_config import BERTConfig
from minilm.models.classifier import Classifier
from minilm.ops import checks
from minilm.ops.padding import mask_from_lengths
from minilm.ops.workspace import empty
from minilm.typing import DType, PathLike, Seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BERTClassifier"]


class Encoder(BERT):
    """BERT without its pooler."""

    may_exceed = (*BERT.may_exceed, "pooler.")

    def __init__(self, config: BERTConfig, *, seed=0, dtype=np.float32):
        super().__init__(config, pooler=False, seed=seed, dtype=dtype)


class BERTClassifier(Classifier):
    """BERT's encoder and an affine map.

    ::

        y = BERT(ids)                   (B, T, D)
        x = mean of y[t], or y[0]       (B, D)      backward: dy[t] = dx / (tokens of the text), or dy[0] = dx

    (`BERTForSequenceClassification` is Hugging Face's model, which reads BERT's pooler. Encoders for sentences, such as
    all-MiniLM-L6-v2, are trained to give a mean.)

    Parameters
    ----------
    config : BERTConfig
    num_labels : int
    pooling : {"mean", "cls"}
        "cls" is the first token's vector.
    frozen : bool
        Train the affine map alone: the encoder runs without dropout, and gets no gradients. ``model.learned`` is what an
        optimizer then should be given the parameters of.
    dropout, label_smoothing, seed, dtype
        See `Classifier`; what drops within the encoder is the configuration's.
    """

    def __init__(
        self,
        config: BERTConfig,
        num_labels: int,
        *,
        pooling: str = "mean",
        frozen: bool = False,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
    ):
        super().__init__(num_labels, dropout=dropout, label_smoothing=label_smoothing, seed=seed, dtype=dtype)
        self.config = config
        self.reads_first = checks.option("pooling", pooling, ("mean", "cls")) == "cls"
        self.frozen = checks.flag("frozen", frozen)
        self.bert = Encoder(config, **self._options)
        self.pooling = MeanPooling()
        self._make_head(config.hidden_size, initialisers.normal(config.initializer_range))

    @classmethod
    def from_pretrained(
        cls,
        folder: PathLike,
        num_labels: int,
        *,
        pooling: str = "mean",
        frozen: bool = False,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        seed: Seed = 0,
        dtype: DType = np.float32,
        changes: dict | None = None,
    ) -> Self:
        """On the encoder of a folder in Hugging Face's layout; the affine map starts anew.

        Parameters
        ----------
        folder : str or os.PathLike
        num_labels, pooling, frozen, dropout, label_smoothing, seed, dtype
            As in the constructor.
        changes : dict, optional
            Settings of the encoder's configuration that are to differ.

        Raises
        ------
        FileNotFoundError, ValueError
            See `minilm.models.pretrained.Pretrained.from_pretrained`.
        """
        encoder = Encoder.from_pretrained(folder, dtype=dtype, **(changes or {}))
        options = {"dropout": dropout, "label_smoothing": label_smoothing, "seed": seed, "dtype": dtype}
        model = cls(encoder.config, num_labels, pooling=pooling, frozen=frozen, **options)
        model.bert.parameters.load_state_dict(dict(encoder.parameters))
        return model

    @property
    def learned(self) -> Layer:
        """The layer whose parameters are to be trained: the affine map where the encoder is frozen, else all of it."""
        return self.classifier if self.frozen else self

    def _vectors(self, ids, lengths, key):
        ids, lengths = self._checked(ids, lengths, self.config.vocab_size)
        mask = mask_from_lengths(lengths, ids.shape[1])  # (B, T)
        y, body = self.bert.forward(ids, None, mask, key=None if self.frozen else key)
        y = y.hidden  # (B, T, D)
        if self.reads_first:
            return contiguous(y[:, 0]), (body, y.shape, None)  # (B, D)
        x, pooled = self.pooling.forward(y, mask)  # (B, D)
        return x, (body, y.shape, pooled)

    def _vectors_backward(self, dx, saved):
        if self.frozen:
            return
        body, shape, pooled = saved
        if self.reads_first:
            dy = empty(shape, self.dtype, like=dx)  # (B, T, D)
            dy[...] = 0
            dy[:, 0] = dx
        else:
            dy = self.pooling.backward(dx, pooled)  # (B, T, D)
        self.bert.backward((dy, None), body)
