"""Keras's module of layers."""

from minilm.sequential.base import SequentialLayer
from minilm.sequential.bidirectional import Bidirectional
from minilm.sequential.core import Activation, Dense, Dropout, Embedding, Input, SpatialDropout1D
from minilm.sequential.recurrent import GRU, LSTM, SimpleRNN
from minilm.sequential.steps import (
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Masking,
    RepeatVector,
    TimeDistributed,
)

InputLayer = Input
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D  # Keras's second names

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "Masking",
    "RepeatVector",
    "SequentialLayer",
    "SimpleRNN",
    "SpatialDropout1D",
    "TimeDistributed",
]
