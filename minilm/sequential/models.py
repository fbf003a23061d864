"""Keras's module of models."""

from __future__ import annotations

from minilm.sequential import saving
from minilm.sequential.model import Sequential
from minilm.typing import PathLike

__all__ = ["Sequential", "load_model"]


def load_model(filepath: PathLike, compile: bool = True) -> Sequential:
    """The model of a file that `Sequential.save` wrote, or Keras, if minilm has all of its layers.

    Parameters
    ----------
    filepath : str or os.PathLike
        The first bytes tell the format, whatever the name.
    compile : bool
        Whether to compile the model as it was when it was saved; of a file of ours with the optimizer's state.

    Returns
    -------
    Sequential

    Raises
    ------
    FileNotFoundError
    ValueError
        Naming the file and what is wrong with it.

    Warns
    -----
    UserWarning
        If what Keras's model was compiled with is not there, or its optimizer's state is left out.
    """
    return saving.load_model(Sequential, filepath, compile)
