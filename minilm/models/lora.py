"""Fine-tuning by LoRA: adapters in a model's affine maps, and their files as PEFT writes them.

::

    names = lora.add(model, rank=8, targets=("q_proj", "v_proj"))
    model.freeze(lambda name: not lora.is_adapter(name))
    adam = optimizers.AdamW(model.parameters, lr=2e-4)
    ...
    lora.save(model, "folder")              adapter_config.json and adapter_model.safetensors
    lora.merge(model)                       to generate at the base's speed; lora.unmerge(model) goes back
    lora.merge_and_unload(model)            a model without adapters, to be saved, converted or quantised
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from minilm.files import read_json, written_whole
from minilm.layers.base import Layer, generator_of
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear
from minilm.layers.replacing import put_sublayer, sublayer_places
from minilm.models.pretrained import Pretrained, settings_from
from minilm.ops import checks
from minilm.typing import PathLike, Seed
from minilm.weights import KEYMAPS, TensorFile
from minilm.weights.keymap import KeyMap
from minilm.weights.saving import Item, has_prefix, write_tensors

__all__ = ["add", "adapters", "is_adapter", "load", "merge", "merge_and_unload", "save", "unmerge"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's: what `trainable` of an optimizer wants."""
    return name.rpartition(".")[2] in ("lora_A", "lora_B")


def adapters(model: Layer) -> Iterator[tuple[str, LoRALinear]]:
    """All adapters of a model, with their dotted names."""
    return ((name, layer) for name, layer in model.named_layers() if isinstance(layer, LoRALinear))


def add(
    model: Layer,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Iterable[str] = ("q_proj", "v_proj"),
    seed: Seed = 0,
) -> list[str]:
    """Put a `LoRALinear` in the place of each `Linear` whose name ends with one of `targets`.

    Parameters
    ----------
    model : Layer
        Optimizers made before are of the old parameters: make new ones.
    rank, alpha
        See `minilm.layers.lora.LoRALinear`.
    targets : iterable of str
        Names, or their last parts: "q_proj" of a Llama, "c_attn" of a GPT-2, "layers.0.self_attn.v_proj".
    seed : int, Generator or None

    Returns
    -------
    names : list of str
        Of the layers that have one now.

    Raises
    ------
    ValueError
        No layer has such a name.
    """
    chosen = {*((targets,) if isinstance(targets, str) else targets)}
    linear = sublayer_places(model, (Linear,))
    places = {name: place for name, place in linear.items() if any(_ends(name, each) for each in chosen)}
    unknown = sorted(each for each in chosen if not any(_ends(name, each) for name in places))
    if unknown or not chosen:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise ValueError(f"targets must name layers of the model, such as {known}, got {', '.join(unknown) or 'none'}")
    return _put_in(places, rank, alpha, seed)


def _ends(name: str, end: str) -> bool:
    """Whether a dotted name is `end`, or ends with it."""
    return name == end or name.endswith(f".{end}")


def _put_in(places: Mapping[str, tuple[Layer, str, Linear]], rank: int, alpha: float, seed: Seed = 0) -> list[str]:
    generator = generator_of(seed)
    for layer, name, inner in places.values():
        put_sublayer(layer, name, LoRALinear(inner, rank, alpha, seed=generator))
    return list(places)


def merge(model: Layer) -> None:
    """`LoRALinear.merge` of every adapter.

    Raises
    ------
    ValueError
        One is in a layer that shares its weight with another, such as a tied output layer, which would change, too.
    """
    aliases = model.parameters.aliases
    tied = {id(each) for name, each in model.named_parameters() if name in aliases}
    for name, layer in adapters(model):
        if id(layer.weight) in tied:
            raise ValueError(f"{name} shares its weight with another layer, which merging would change: add no adapter to it")
    for _, layer in adapters(model):
        layer.merge()


def unmerge(model: Layer) -> None:
    """`LoRALinear.unmerge` of every adapter."""
    for _, layer in adapters(model):
        layer.unmerge()


def merge_and_unload(model: Layer) -> None:
    """Merge every adapter and put a `Linear` of the sum in its place, as `merge_and_unload` of PEFT: there is no way back.

    Raises
    ------
    ValueError
        As of `merge`; nothing is changed then.
    """
    merge(model)
    for _, layer in list(model.named_layers()):
        for name, inner in list(layer.sublayers()):
            if isinstance(inner, LoRALinear):
                put_sublayer(layer, name, inner.plain())


# --- files -----------------------------------------------------------------------------------------------------------------


def save(model: Layer, folder: PathLike, *, base: str | None = None) -> None:
    """Write the adapters of a model of `minilm.models.Pretrained`, as PEFT reads them.

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
        The model has no adapters, or adapters of several ranks; or transformers has no class for it.
    """
    layers = dict(adapters(model))
    if not layers:
        raise ValueError("the model has no adapters: add some first")
    sizes = {(layer.rank, layer.alpha) for layer in layers.values()}
    if len(sizes) > 1:
        came = " and ".join(f"rank={rank}, alpha={alpha:g}" for rank, alpha in sorted(sizes))
        raise ValueError(f"one file has adapters of one rank and one alpha, got {came}")
    (rank, alpha), folder = next(iter(sizes)), os.path.expanduser(os.fspath(folder))
    linear = sublayer_places(model, (Linear,))
    keymap, names = _keymap(model), _peft_names(model, [*linear, *layers])
    content = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if hasattr(model, "lm_head") else None,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": _targets([names[name] for name in layers], [names[name] for name in linear]),
        "bias": "none",
        "fan_in_fan_out": any(keymap.is_transposed(keymap.canonical(f"{name}.weight")) for name in layers),
        "inference_mode": True,
    }
    arrays = [
        Item(f"{PREFIX}{names[name]}.{part}.weight", getattr(layer, part).value)
        for name, layer in layers.items()
        for part in ("lora_A", "lora_B")
    ]
    os.makedirs(folder, exist_ok=True)
    write_tensors(os.path.join(folder, WEIGHTS), arrays)
    with written_whole(os.path.join(folder, CONFIG)) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _targets(adapted: list[str], others: list[str]) -> list[str]:
    """What PEFT finds the adapted layers by, and no others: last parts of their names, or whole ones."""
    last = sorted({name.rpartition(".")[2] for name in adapted})
    return sorted(adapted) if any(_ends(name, end) for name in others for end in last) else last


def load(model: Layer, folder: PathLike) -> list[str]:
    """Add the adapters of a folder to a model, with their numbers; their names are returned.

    Raises
    ------
    FileNotFoundError
    ValueError
        The folder holds adapters of another kind, or they do not fit the model, which is then as it was.
    """
    folder = os.path.expanduser(os.fspath(folder))
    path = os.path.join(folder, CONFIG)
    content: dict[str, Any] = read_json(path)
    fixed = {"peft_type": "LORA", "bias": "none", "use_dora": False, "use_rslora": False, "modules_to_save": None}
    fixed |= {"rank_pattern": {}, "alpha_pattern": {}, "lora_bias": False}
    for name, supported in fixed.items():
        if content.get(name, supported) != supported:
            raise ValueError(f"{path}: {name} = {content[name]!r} is not supported, wanted {supported!r}")
    targets = content.get("target_modules")
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        raise ValueError(f"{path}: target_modules must be a list of names, got {checks.describe(targets)}")
    try:
        rank = checks.whole("r", content.get("r", 8), 1, 2**31)
        alpha = checks.number("lora_alpha", content.get("lora_alpha", 8), 0, 2**31, low_open=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    linear = sublayer_places(model, (Linear,))
    names = {name: peft for name, peft in _peft_names(model, linear).items() if any(_ends(peft, each) for each in targets)}
    with TensorFile(os.path.join(folder, WEIGHTS)) as file:
        places = {f"{PREFIX}{peft}.{part}.weight": (name, part) for name, peft in names.items() for part in ("lora_A", "lora_B")}
        if differing := sorted(set(places) ^ set(file)):
            raise ValueError(f"{folder} does not fit the model: {', '.join(differing[:8])} are in one of the two alone")
        arrays = {place: file.read(key, np.float32) for key, place in places.items()}
        for key, (name, part) in places.items():
            inner, shape = linear[name][2], file[key].shape
            fitting = (rank, inner.in_features) if part == "lora_A" else (inner.out_features, rank)
            if shape != fitting:
                raise ValueError(f"{folder}: {key} has shape {shape}, wanted {fitting}")
    _put_in({name: linear[name] for name in names}, rank, alpha)
    added = dict(adapters(model))
    for (name, part), values in arrays.items():
        getattr(added[name], part).value[...] = values
    return list(names)


def _keymap(model: Any) -> KeyMap:
    """How transformers calls the weights of a model."""
    if not isinstance(model, Pretrained):
        raise ValueError(f"PEFT's files are of models that transformers has: GPT, Llama, BERT, got a {type(model).__name__}")
    return KEYMAPS[settings_from(model.config)["family"]]  # type: ignore[attr-defined]


def _peft_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """What PEFT calls layers, by our names: as their weights in a file of the whole model."""
    keymap, prefixed = _keymap(model), has_prefix(model.parameters, _keymap(model))
    return {name: keymap.saved(keymap.canonical(f"{name}.weight"), prefixed).removesuffix(".weight") for name in names}
