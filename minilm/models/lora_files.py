"""LoRA's adapters in the two files that PEFT writes: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from minilm import devices
from minilm.files import read_json, written_whole
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear, adapters
from minilm.layers.replacing import put_sublayer, sublayer_places
from minilm.models.pretrained import Pretrained, settings_from
from minilm.quantized.storing import refuse_quantized
from minilm.typing import Array, PathLike
from minilm.weights import KEYMAPS, TensorFile
from minilm.weights.keymap import KeyMap
from minilm.weights.loading import check_finite
from minilm.weights.peft import AdapterConfig, adapter_config, adapter_content
from minilm.weights.saving import Item, has_prefix, write_tensors

__all__ = ["FLOATS", "load", "save"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PARTS = ("lora_A", "lora_B")
FLOATS = "adapters go into float weights, those that it was quantized from"  # how the refusal of others ends


def save(model: Layer, folder: PathLike, *, base: str | None = None) -> None:
    """Write the adapters of a model of `minilm.models.pretrained.Pretrained`, as PEFT reads them.

    Parameters
    ----------
    model : Llama, GPT or BERT
    folder : str or os.PathLike
        Made if it is not there.
    base : str, optional
        The folder or name of the model that they belong to, for whoever reads the file.

    Raises
    ------
    ValueError
        The model has no adapters, or some with rslora and some without; or transformers has no class for it.
    """
    layers = dict(adapters(model))
    if not layers:
        raise ValueError("the model has no adapters: add some first")
    if len({layer.rslora for layer in layers.values()}) > 1:
        raise ValueError("one file has adapters with rslora or without, got both")
    folder, linear = os.path.expanduser(os.fspath(folder)), sublayer_places(model, (Linear,))
    keymap, names = _keymap(model), _peft_names(model, [*linear, *layers])
    content = adapter_content(
        {names[name]: (layer.rank, layer.alpha) for name, layer in layers.items()},
        [names[name] for name in linear],
        any(layer.rslora for layer in layers.values()),
        transposed=any(keymap.is_transposed(keymap.canonical(f"{name}.weight")) for name in layers),
        base=base,
        task="CAUSAL_LM" if hasattr(model, "lm_head") else None,
    )
    arrays = [Item(_key(names[name], part), getattr(layer, part).value) for name, layer in layers.items() for part in PARTS]
    os.makedirs(folder, exist_ok=True)
    write_tensors(os.path.join(folder, WEIGHTS), arrays)
    with written_whole(os.path.join(folder, CONFIG)) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def load(model: Layer, folder: PathLike) -> list[str]:
    """Add the adapters of a folder to a model, with their numbers; their names are returned.

    Raises
    ------
    FileNotFoundError
    ValueError
        The folder holds adapters of another kind, or they do not fit the model, which is then as it was; or the model's weights
        are quantised.
    """
    refuse_quantized(model, FLOATS)
    folder = os.path.expanduser(os.fspath(folder))
    path = os.path.join(folder, CONFIG)
    content = read_json(path)
    try:
        config = adapter_config(content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    linear = sublayer_places(model, (Linear,))
    names = {name: peft for name, peft in _peft_names(model, linear).items() if config.chooses(peft)}
    arrays = _read(folder, {name: (peft, linear[name][2]) for name, peft in names.items()}, config, model)
    for name, peft in names.items():
        layer, attribute, inner = linear[name]
        adapter = LoRALinear(inner, config.rank_of(peft), config.alpha_of(peft), rslora=config.rslora, seed=0)
        for part in PARTS:
            getattr(adapter, part).value[...] = arrays[name, part]
        put_sublayer(layer, attribute, adapter)
    return list(names)


def _read(
    folder: str, places: dict[str, tuple[str, Linear]], config: AdapterConfig, model: Layer
) -> dict[tuple[str, str], Array]:
    """The numbers for each layer, by its name and the part; `places` has what PEFT calls it, and the layer.

    ValueError where they do not fit.
    """
    arrays = {}
    with TensorFile(os.path.join(folder, WEIGHTS)) as file:
        keys = {_key(peft, part) for peft, _ in places.values() for part in PARTS}
        bases = {f"{PREFIX}{peft}.base_layer.weight": inner for peft, inner in places.values()}
        if differing := sorted(keys ^ {key for key in file if key not in bases}):
            raise ValueError(f"{folder} does not fit the model: {', '.join(differing[:8])} are in one of the two alone")
        for name, (peft, inner) in places.items():
            rank = config.rank_of(peft)
            for part, shape in zip(PARTS, ((rank, inner.in_features), (inner.out_features, rank)), strict=True):
                key = _key(peft, part)
                if file[key].shape != shape:
                    raise ValueError(f"{folder}: {key} has shape {file[key].shape}, wanted {shape}")
                arrays[name, part] = file.read(key, model.dtype)
                check_finite(file.path, key, arrays[name, part])
        for key in bases.keys() & set(file):  # PEFT writes an output layer's own weight beside its adapter
            if not _same(file.read(key, model.dtype), bases[key].weight.value, file[key].dtype):
                raise ValueError(f"{folder}: {key} is not the model's own: the adapters are of another model")
    return arrays


def _same(stored: Array, own: Array, kind: str) -> bool:
    """Whether a file's array of this kind holds a model's numbers, rounded as the file has them."""
    digits = {"BF16": 2**-8, "F16": 2**-11}.get(kind, 2**-24)
    return np.allclose(stored, devices.to_host(own), rtol=digits, atol=2**-24)


def _key(name: str, part: str) -> str:
    return f"{PREFIX}{name}.{part}.weight"


def _keymap(model: Any) -> KeyMap:
    """How transformers calls the weights of a model."""
    if not isinstance(model, Pretrained):
        raise ValueError(f"PEFT's files are of models that transformers has: GPT, Llama, BERT, got a {type(model).__name__}")
    return KEYMAPS[settings_from(model.config)["family"]]  # type: ignore[attr-defined]


def _peft_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """What PEFT calls layers, by our names: as their weights in a file of the whole model."""
    keymap, prefixed = _keymap(model), has_prefix(model.parameters, _keymap(model))
    return {name: keymap.saved(keymap.canonical(f"{name}.weight"), prefixed).removesuffix(".weight") for name in names}
