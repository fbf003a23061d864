"""Keras's module of helpers."""

from minilm.sequential.batches import PyDataset
from minilm.sequential.data import to_categorical
from minilm.sequential.model import set_random_seed
from minilm.tokenizers import pad_sequences

Sequence = PyDataset  # Keras's older name

__all__ = ["PyDataset", "Sequence", "pad_sequences", "set_random_seed", "to_categorical"]
