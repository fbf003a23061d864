"""Keras's module of models."""

from minilm.sequential.model import Sequential
from minilm.sequential.saving import load_model

__all__ = ["Sequential", "load_model"]
