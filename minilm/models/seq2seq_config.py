"""Configurations of the models that turn one sequence into another."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from minilm.models.config import Config, choice, flag, rate, setting, size
from minilm.ops import checks

__all__ = ["Seq2SeqConfig", "TransformerConfig"]


@dataclasses.dataclass(frozen=True)
class TransformerConfig(Config):
    """What an encoder-decoder transformer is made of; the defaults are "base" of Vaswani et al.

    Parameters
    ----------
    vocab_size : int
        Of the source.
    target_vocab_size : int, optional
        `vocab_size` without it.
    d_model, num_heads : int
        D and H.
    encoder_layers, decoder_layers : int
    hidden_dim : int, optional
        Of the position-wise networks; 4 D without it.
    dropout, attention_dropout : float
        Of embeddings and of what each part adds to the residual; of the weights of attention.
    activation : {"relu", "gelu_tanh", "gelu_erf"}
    norm_first : bool
        Pre-norm, with one more normalisation after the last layer of either stack; post-norm, as in the paper, without.
    positions : {"sinusoidal", "tensor2tensor", "learned"}
        Both sinusoids: those of the paper's formula, and those of its program, see `minilm.layers.positions.sinusoids`.
    max_positions : int
        Most positions of either text, where they are learned.
    tied : bool
        Let the output layer use the target's table of embeddings.
    output_bias : bool
        Whether the output layer has a bias.
    shared : bool
        One table for source and target, which then have one vocabulary.
    label_smoothing : float
        How much of each target's probability is spread over all tokens, in training.
    """

    model_type: ClassVar[str] = "transformer"

    vocab_size: int = size()
    target_vocab_size: int | None = size(None)
    d_model: int = size(512)
    num_heads: int = size(8)
    encoder_layers: int = size(6)
    decoder_layers: int = size(6)
    hidden_dim: int | None = size(None)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.0)
    activation: str = choice("relu", "relu", "gelu_tanh", "gelu_erf")
    norm_first: bool = flag(False)
    positions: str = choice("sinusoidal", "sinusoidal", "tensor2tensor", "learned")
    max_positions: int = size(512)
    tied: bool = flag(True)
    output_bias: bool = flag(False)
    shared: bool = flag(False)
    label_smoothing: float = rate(0.1)

    def check(self) -> None:
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model must be a multiple of num_heads, got {self.d_model} and {self.num_heads}")
        _check_shared(self)

    @property
    def outputs(self) -> int:
        """Tokens that the target may have."""
        return self.target_vocab_size or self.vocab_size


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig(Config):
    """What a recurrent encoder-decoder is made of.

    Parameters
    ----------
    vocab_size : int
        Of the source.
    target_vocab_size : int, optional
        `vocab_size` without it.
    cell : {"lstm", "gru"}
    embedding_size, hidden_size, num_layers : int
    bidirectional : bool
        The encoder reads in both directions, each with half of `hidden_size`, so that its states fit the decoder's.
    reverse : bool
        The encoder reads the source from its end to its beginning (Sutskever et al.).
    peeky : bool
        The encoder's last output goes into every step of the decoder, and into its output layer (Cho et al.), not into the
        first state alone.
    attention : {"bahdanau", "luong", "dot"}, optional
        Additive, Luong's "general" or his "dot"; None: the decoder sees the source through the encoder's last state alone.
    input_feeding : bool
        What attention gave at one step goes into the decoder at the next (Luong et al., section 3.3). The steps of the decoder
        then cannot be computed side by side, and training is slower.
    attend_first : bool
        Bahdanau's own order: attention asks with the state before a step, and what it gives goes into that step. Steps then
        follow one another, as with input feeding, in whose place it stands.
    combine : bool
        Let the output layer read tanh(W_c [s; c]), of the decoder's state s and of what attention gave, c (Luong et al.); else
        the two side by side.
    carry_cell : bool
        Let the decoder of an LSTM begin with the encoder's last cell as well as with its last h; else with a cell of zeros.
    dropout : float
        Of embeddings, between recurrent layers, and of what the output layer reads.
    tied : bool
        Let the output layer use the target's table of embeddings.
    shared : bool
        One table for source and target, which then have one vocabulary.
    label_smoothing : float
        How much of each target's probability is spread over all tokens, in training.
    follow : bool
        Of `minilm.models.PointerGenerator`: whether the pointer is told where the target's last tokens stand in the source.
    """

    model_type: ClassVar[str] = "seq2seq"

    vocab_size: int = size()
    target_vocab_size: int | None = size(None)
    cell: str = choice("lstm", "lstm", "gru")
    embedding_size: int = size(64)
    hidden_size: int = size(256)
    num_layers: int = size(1)
    bidirectional: bool = flag(False)
    reverse: bool = flag(False)
    peeky: bool = flag(False)
    attention: str | None = setting("luong", lambda name, value: checks.option(name, value, (None, "bahdanau", "luong", "dot")))
    input_feeding: bool = flag(False)
    attend_first: bool = flag(False)
    combine: bool = flag(True)
    carry_cell: bool = flag(True)
    dropout: float = rate(0.0)
    tied: bool = flag(False)
    shared: bool = flag(False)
    label_smoothing: float = rate(0.0)
    follow: bool = flag(False)

    def check(self) -> None:
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(f"hidden_size must be even for a bidirectional encoder, got {self.hidden_size}")
        for name in ("input_feeding", "attend_first"):
            if getattr(self, name) and self.attention is None:
                raise ValueError(f"{name} brings what attention gives into the decoder: it wants attention, got attention=None")
        if self.input_feeding and self.attend_first:
            raise ValueError("input_feeding and attend_first are two ways into the decoder: only one of them may be True")
        if not self.combine and (self.attention is None or self.input_feeding):
            what = "attention=None" if self.attention is None else "input_feeding=True"
            raise ValueError(f"combine=False puts state and context side by side for the output layer alone, got {what}")
        if not self.carry_cell and self.cell != "lstm":
            raise ValueError(f"carry_cell is for cell='lstm', got cell={self.cell!r}")
        _check_shared(self)

    @property
    def outputs(self) -> int:
        """Tokens that the target may have."""
        return self.target_vocab_size or self.vocab_size


def _check_shared(config) -> None:
    if config.shared and config.outputs != config.vocab_size:
        raise ValueError(f"shared embeddings want one vocabulary, got {config.vocab_size} and {config.outputs} tokens")
