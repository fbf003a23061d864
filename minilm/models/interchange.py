"""Weights from PyTorch and to it, in memory: state dicts, by the names that both have.

Layers and models here name their weights as PyTorch does, and lay them out so (gates in the order i f g o), so that
``nn.LSTM``'s, ``nn.Linear``'s, ... and those of a model of one's own with the same names go from one to the other as they are.
GPT, BERT, Llama and its relatives also go from and to the classes of transformers, whose names and orientations
`minilm.weights.keymap` has::

    peer = transformers.GPT2LMHeadModel(...)
    models.from_torch(models.GPT(models.GPTConfig.gpt2(...)), peer)
    peer.load_state_dict(models.to_torch(model, names="huggingface"), strict=False)   # what is tied is there once
    peer.tie_weights()

(Weights in files: `minilm.weights`, and ``from_pretrained``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.lora import refuse_adapters
from minilm.models.pretrained import Pretrained, settings_from
from minilm.ops import checks
from minilm.quantized.storing import refuse_quantized
from minilm.weights import KEYMAPS, load_weights
from minilm.weights.experts import as_installed
from minilm.weights.keymap import KeyMap
from minilm.weights.loose import LooseArrays
from minilm.weights.saving import items

__all__ = ["from_torch", "to_torch"]

Model = TypeVar("Model", bound=Layer)
NAMES = ("minilm", "huggingface")


def to_torch(model: Layer, *, names: str = "minilm") -> dict[str, Any]:
    """Copies of a model's weights as tensors: what ``module.load_state_dict`` of PyTorch takes.

    Parameters
    ----------
    model : Layer
    names : {"minilm", "huggingface"}
        Our names and orientations, or those of the model's class in transformers, of the version that is installed: a Mixtral's
        experts have other ones from 5 on.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    ValueError
        transformers has no class for the model.
    """
    import torch

    _require_model(model)
    checks.option("names", names, NAMES)
    refuse_quantized(model, "PyTorch has no such tensors")
    if names == "minilm":
        return {name: torch.from_numpy(value) for name, value in model.parameters.state_dict().items()}
    keymap = _keymap(model)
    refuse_adapters(model)
    if keymap is None:
        raise ValueError(f"transformers has no class for a {type(model).__name__}: names='minilm' gives our own")
    arrays = as_installed(items(model.parameters, keymap))
    return {item.name: torch.from_numpy(devices.to_host(item.array).copy()) for item in arrays}


def from_torch(model: Model, source: Any) -> Model:
    """Copy the weights of a PyTorch module into a model, which is given back.

    Parameters
    ----------
    model : Layer
    source : torch.nn.Module, or mapping of str to tensor
        One tensor of floating-point numbers for each parameter: by our names, or, for a GPT, BERT or Llama, by those of
        transformers, whose orientation is then turned where it differs.

    Raises
    ------
    ValueError
        Names or shapes differ: all that do are named, and nothing is changed. Or a tensor has no numbers (PyTorch's device meta).
    """
    _require_model(model)
    state = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(state, Mapping):
        raise TypeError(f"source must be a module of PyTorch or its state dict, got {checks.describe(source)}")
    arrays = {name: _on_host(value) for name, value in state.items()}
    keymap = _keymap(model)
    if keymap is None or _is_own(model, arrays):
        model.parameters.load_state_dict(arrays)
    else:
        if not settings_from(model.config)["tie_word_embeddings"]:  # type: ignore[attr-defined]
            keymap = keymap.untied()
        load_weights(model, LooseArrays(arrays, "the state dict"), keymap, may_exceed=getattr(model, "may_exceed", ()))
    return model


def _is_own(model: Layer, arrays: Mapping[str, Any]) -> bool:
    """Whether names and shapes are ours. transformers' GPT2Model has our names, and other shapes."""
    shapes = {name: tuple(value.shape) for name, value in model.parameters.items()}
    return shapes == {name: tuple(getattr(value, "shape", ())) for name, value in arrays.items()}


def _keymap(model: Layer) -> KeyMap | None:
    """How transformers calls the weights; None for a model that it has no class for."""
    if not isinstance(model, Pretrained):
        return None
    try:
        return KEYMAPS[settings_from(model.config)["family"]]  # type: ignore[attr-defined]
    except ValueError:
        return None


def _require_model(model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {checks.describe(model)}")


def _on_host(value: Any) -> Any:
    """A tensor in the CPU's memory, in a type that NumPy has."""
    if getattr(value, "is_meta", False):
        raise ValueError("a tensor of the source is on PyTorch's device meta, which holds no numbers: load the weights first")
    value = value.detach().cpu() if hasattr(value, "detach") else value
    value = value.float() if str(getattr(value, "dtype", "")) == "torch.bfloat16" else value
    return value.numpy() if hasattr(value, "numpy") else value
