"""Layers: parameters and the ops that use them.

::

    y, saved = layer.forward(x, ...)
    dx       = layer.backward(dy, saved)             adds the parameters' gradients to their buffer

==============  ===========================================================================================================
maps            `Linear`, `Embedding`, `PositionalEmbedding`, `SinusoidalPositions`, `FeedForward`, `GatedFeedForward`,
                `MixtureOfExperts`
recurrent       `RNN`, `LSTM`, `GRU`
attention       `MultiHeadAttention`, `GroupedQueryAttention`; of a recurrent decoder `BahdanauAttention`, `LuongAttention`
normalisation   `LayerNorm`, `RMSNorm`
blocks          `TransformerBlock` (GPT, BERT, Transformer), `LlamaBlock`
of a text       `MeanPooling`, `DotPooling`, `AttentionPooling`: one vector for all of it; `CRF`: a tag for each word
beside these    `Dropout`; `KeyValueCache`, which generation keeps; `Layer`, `Parameter`, `Parameters`: what all consist of
==============  ===========================================================================================================

`minilm.layers.hooks` reads and replaces what layers compute, `minilm.layers.lora` adapts trained maps.

PyTorch's names throughout, of classes, arguments and parameters, so that weights move over by name. ``print(layer)``
shows what a layer is made of.
"""

from minilm.layers import initialisers
from minilm.layers.alignment import BahdanauAttention, LuongAttention
from minilm.layers.attention import MultiHeadAttention
from minilm.layers.base import Layer
from minilm.layers.cache import KeyValueCache
from minilm.layers.crf import CRF
from minilm.layers.dropout import Dropout
from minilm.layers.embedding import Embedding
from minilm.layers.feed_forward import FeedForward
from minilm.layers.gated_feed_forward import GatedFeedForward
from minilm.layers.grouped_attention import GroupedQueryAttention
from minilm.layers.gru import GRU
from minilm.layers.layer_norm import LayerNorm
from minilm.layers.linear import Linear
from minilm.layers.llama_block import LlamaBlock
from minilm.layers.lstm import LSTM
from minilm.layers.mixture_of_experts import MixtureOfExperts
from minilm.layers.parameter import Parameter
from minilm.layers.parameters import Parameters
from minilm.layers.pooling import AttentionPooling, DotPooling, MeanPooling
from minilm.layers.positions import PositionalEmbedding, SinusoidalPositions
from minilm.layers.rms_norm import RMSNorm
from minilm.layers.rnn import RNN
from minilm.layers.transformer import TransformerBlock

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "RNN",
    "AttentionPooling",
    "BahdanauAttention",
    "DotPooling",
    "Dropout",
    "Embedding",
    "FeedForward",
    "GatedFeedForward",
    "GroupedQueryAttention",
    "KeyValueCache",
    "Layer",
    "LayerNorm",
    "Linear",
    "LlamaBlock",
    "LuongAttention",
    "MeanPooling",
    "MixtureOfExperts",
    "MultiHeadAttention",
    "Parameter",
    "Parameters",
    "PositionalEmbedding",
    "RMSNorm",
    "SinusoidalPositions",
    "TransformerBlock",
    "initialisers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
