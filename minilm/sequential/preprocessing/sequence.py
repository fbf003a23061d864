"""Keras's module of what is done to sequences."""

from minilm.tokenizers import pad_sequences

__all__ = ["pad_sequences"]
