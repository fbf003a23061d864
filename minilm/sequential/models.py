"""Keras's module of models."""

from __future__ import annotations

from minilm.sequential import saving
from minilm.sequential.model import Sequential
from minilm.typing import PathLike

__all__ = ["Sequential", "load_model"]


def load_model(filepath: PathLike, compile: bool = True) -> Sequential:
    """The model of a file that `Sequential.save` wrote, or Keras's own, of layers that both have.

    Parameters
    ----------
    filepath : str or os.PathLike
    compile : bool
        Whether the optimizer, loss and metrics that it was saved with are those of the model, too.

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file and what is wrong with it.
    """
    return saving.load_model(Sequential, filepath, compile)
