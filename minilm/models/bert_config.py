"""What a BERT is made of, by Hugging Face's names."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from minilm.models.config import Config, choice, flag, number, rate, setting, size
from minilm.models.gpt_config import ACTIVATIONS
from minilm.ops import checks

__all__ = ["BERTConfig"]


@dataclasses.dataclass(frozen=True)
class BERTConfig(Config):
    """Configuration of a BERT.

    Parameters
    ----------
    vocab_size : int
        V.
    hidden_size, num_hidden_layers, num_attention_heads : int
        D, a multiple of the heads; number of blocks; heads of each.
    intermediate_size : int, optional
        Width of the position-wise networks; 4 D without it.
    hidden_act : {"gelu", "gelu_new", "relu"}
        "gelu" is GELU's exact form.
    hidden_dropout_prob, attention_probs_dropout_prob : float
        Dropout of the embeddings and of what a block's parts add to the residual; and of the attention's weights.
    max_position_embeddings : int
        Most tokens a text may have.
    type_vocab_size : int
        Kinds of segments: 2 for a pair of sentences.
    initializer_range : float
        Standard deviation of the first weights; biases start at zero.
    layer_norm_eps : float
    pad_token_id : int or None
        The id whose vector is zero and is not learned.
    num_labels : int
        Of the heads for classification.
    classifier_dropout : float, optional
        Of these heads; hidden_dropout_prob without it.
    recompute : bool
        See `minilm.layers.TransformerBlock`.
    tie_word_embeddings : bool
        Let the output layer of `BERTForPreTraining` use the tokens' table; else it has weights of its own.
    """

    model_type: ClassVar[str] = "bert"

    vocab_size: int = size(30522)
    hidden_size: int = size(768)
    num_hidden_layers: int = size(12)
    num_attention_heads: int = size(12)
    intermediate_size: int | None = size(None)
    hidden_act: str = choice("gelu", *ACTIVATIONS, minilm_only=True)  # the op's name is read and written
    hidden_dropout_prob: float = rate(0.1)
    attention_probs_dropout_prob: float = rate(0.1)
    max_position_embeddings: int = size(512)
    type_vocab_size: int = size(2)
    initializer_range: float = number(0.02, 0, 100, low_open=True)
    layer_norm_eps: float = number(1e-12, 0, 1)
    pad_token_id: int | None = setting(0, lambda name, value: None)  # see check
    num_labels: int = size(2)
    classifier_dropout: float | None = rate(None)
    recompute: bool = flag(False, minilm_only=True)
    tie_word_embeddings: bool = flag(True)

    def check(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_attention_heads, got {self.hidden_size} and {self.num_attention_heads}"
            )
        if self.pad_token_id is not None:
            checks.whole("pad_token_id", self.pad_token_id, 0, self.vocab_size)

    @classmethod
    def base(cls, **changes: Any) -> BERTConfig:
        """BERT-base: 12 layers of 768, 12 heads; 109.5 million parameters.

        References
        ----------
        J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, BERT: pre-training of deep bidirectional transformers for language
        understanding, NAACL 2019.
        """
        return cls(**changes)

    @classmethod
    def large(cls, **changes: Any) -> BERTConfig:
        """BERT-large: 24 layers of 1,024, 16 heads; 335.1 million parameters."""
        return cls(**{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, **changes})

    @property
    def activation(self) -> str:
        """The op's name."""
        return ACTIVATIONS[self.hidden_act]

    @property
    def parameter_count(self) -> int:
        """How many numbers the encoder and its pooler have, without making them.

        ::

            (V + P + S) D + 2 D                          tokens, positions, segments, and their normalisation
            + layers (4 (D² + D)                         q, k, v, and the map after the attention
                      + 2 F D + F + D                    position-wise network of width F
                      + 4 D)                             two normalisations
            + D² + D                                     pooler
        """
        V, P, S, D = self.vocab_size, self.max_position_embeddings, self.type_vocab_size, self.hidden_size
        F = 4 * D if self.intermediate_size is None else self.intermediate_size
        block = 4 * (D * D + D) + 2 * F * D + F + D + 4 * D
        return (V + P + S) * D + 2 * D + self.num_hidden_layers * block + D * D + D
