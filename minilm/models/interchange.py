"""Weights from PyTorch and to it, in memory: state dicts, by the names that both have.

Layers and models here name their weights as PyTorch does, and lay them out so (gates in the order i f g o), so that
``nn.LSTM``'s, ``nn.Linear``'s, ... and those of a model of one's own with the same names go from one to the other as they are.
(Weights in files: `minilm.weights`, and ``from_pretrained``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from minilm.layers.base import Layer
from minilm.ops import checks

__all__ = ["from_torch", "to_torch"]

Model = TypeVar("Model", bound=Layer)


def to_torch(model: Layer) -> dict[str, Any]:
    """Copies of a model's weights as tensors: what ``module.load_state_dict`` of PyTorch takes.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    """
    import torch

    _require_model(model)
    return {name: torch.from_numpy(value) for name, value in model.parameters.state_dict().items()}


def from_torch(model: Model, source: Any) -> Model:
    """Copy the weights of a PyTorch module into a model, which is given back.

    Parameters
    ----------
    model : Layer
    source : torch.nn.Module, or mapping of str to tensor
        One tensor of floating-point numbers for each parameter.

    Raises
    ------
    ValueError
        Names or shapes differ: all that do are named, and nothing is changed.
    """
    _require_model(model)
    state = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(state, Mapping):
        raise TypeError(f"source must be a module of PyTorch or its state dict, got {checks.describe(source)}")
    model.parameters.load_state_dict({name: _on_host(value) for name, value in state.items()})
    return model


def _require_model(model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {checks.describe(model)}")


def _on_host(value: Any) -> Any:
    """A tensor in the CPU's memory, in a type that NumPy has."""
    value = value.detach().cpu() if hasattr(value, "detach") else value
    return value.float() if str(getattr(value, "dtype", "")) == "torch.bfloat16" else value
