"""Fine-tuning by LoRA: adapters in a model's affine maps, and their files as PEFT writes them.

::

    names = lora.add(model, rank=8, targets=("q_proj", "v_proj"))
    model.freeze(lambda name: not lora.is_adapter(name))
    adam = optimizers.AdamW(model.parameters, lr=2e-4)
    ...
    lora.save(model, "folder")              adapter_config.json and adapter_model.safetensors
    lora.merge(model)                       to generate at the base's speed; lora.unmerge(model) goes back
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minilm.files import read_json, written_whole
from minilm.layers.base import Layer, generator_of
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear
from minilm.ops import checks
from minilm.typing import PathLike, Seed
from minilm.weights import KEYMAPS, TensorFile
from minilm.weights.saving import Item, write_tensors

__all__ = ["add", "adapters", "is_adapter", "load", "merge", "save", "unmerge"]

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
        Last parts of names: "q_proj" of a Llama, "c_attn" of a GPT-2.
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
    generator, names, chosen = generator_of(seed), [], {*((targets,) if isinstance(targets, str) else targets)}
    for path, layer in list(model.named_layers()):
        for name, inner in list(layer.sublayers()):
            if name in chosen and type(inner) is Linear:
                setattr(layer, name, LoRALinear(inner, rank, alpha, seed=generator))
                names.append(f"{path}.{name}" if path else name)
    if not names:
        linear = sorted({path.rpartition(".")[2] for path, layer in model.named_layers() if type(layer) is Linear})
        raise ValueError(f"targets must name layers of the model, such as {', '.join(linear)}, got {', '.join(sorted(chosen))}")
    return names


def merge(model: Layer) -> None:
    """`LoRALinear.merge` of every adapter."""
    for _, layer in adapters(model):
        layer.merge()


def unmerge(model: Layer) -> None:
    """`LoRALinear.unmerge` of every adapter."""
    for _, layer in adapters(model):
        layer.unmerge()


# --- files -----------------------------------------------------------------------------------------------------------------


def save(model: Layer, folder: PathLike, *, base: str | None = None) -> None:
    """Write the adapters of a model of `minilm.models.Pretrained`, as PEFT reads them.

    Parameters
    ----------
    model : Llama or GPT
    folder : str or os.PathLike
        Made if it is not there.
    base : str, optional
        The folder or name of the model that they belong to, for whoever reads the file.

    Raises
    ------
    ValueError
        The model has no adapters.
    """
    layers = dict(adapters(model))
    if not layers:
        raise ValueError("the model has no adapters: add some first")
    folder, first = os.path.expanduser(os.fspath(folder)), next(iter(layers.values()))
    family = _family(model)
    content = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
        "bias": "none",
        "fan_in_fan_out": family == "gpt2",
        "inference_mode": True,
    }
    arrays = []
    for name, layer in layers.items():
        for part in ("lora_A", "lora_B"):
            arrays.append(Item(f"{_peft_name(name, family)}.{part}.weight", getattr(layer, part).value))
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
        The folder holds adapters of another kind, or they do not fit the model.
    """
    folder = os.path.expanduser(os.fspath(folder))
    path = os.path.join(folder, CONFIG)
    content: dict[str, Any] = read_json(path)
    fixed = {"peft_type": "LORA", "bias": "none", "use_dora": False, "use_rslora": False, "modules_to_save": None}
    fixed |= {"rank_pattern": {}, "alpha_pattern": {}}
    for name, supported in fixed.items():
        if content.get(name, supported) != supported:
            raise ValueError(f"{path}: {name} = {content[name]!r} is not supported, wanted {supported!r}")
    targets = content.get("target_modules")
    if not isinstance(targets, list):
        raise ValueError(f"{path}: target_modules must be a list of names, got {checks.describe(targets)}")
    family = _family(model)
    options = {"rank": content.get("r", 8), "alpha": content.get("lora_alpha", 8)}
    with TensorFile(os.path.join(folder, WEIGHTS)) as file:
        names = add(model, targets=targets, **options)
        layers = dict(adapters(model))
        places = {f"{_peft_name(n, family)}.{part}.weight": (n, part) for n in names for part in ("lora_A", "lora_B")}
        if differing := sorted(set(places) ^ set(file)):
            raise ValueError(f"{folder} does not fit the model: {', '.join(differing[:8])} are in one of the two alone")
        for key, (name, part) in places.items():
            parameter, values = getattr(layers[name], part), file.read(key, np.float32)
            if parameter.shape != values.shape:
                raise ValueError(f"{folder}: {key} has shape {values.shape}, wanted {parameter.shape}")
            parameter.value[...] = values
    return names


def _family(model: Any) -> str:
    return getattr(model.config, "family", "gpt2")


def _peft_name(name: str, family: str) -> str:
    """What PEFT calls a layer."""
    keymap = KEYMAPS[family]
    return PREFIX + keymap.saved(keymap.canonical(f"{name}.weight")).removesuffix(".weight")
