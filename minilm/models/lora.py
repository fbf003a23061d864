"""Fine-tuning by LoRA: adapters in a model's affine maps, and their files as PEFT writes them.

An affine map W with an adapter computes ``y = x Wᵀ + b + s x Aᵀ Bᵀ``, of which the two small matrices A and B alone learn:
`minilm.layers.lora` has the map and its gradients. ::

    names = lora.add(model, rank=8, targets=("q_proj", "v_proj"))
    model.freeze(lambda name: not lora.is_adapter(name))
    adam = optimizers.AdamW(model.parameters, lr=2e-4)
    ...
    lora.save(model, "folder")              adapter_config.json and adapter_model.safetensors
    lora.merge(model)                       to generate at the base's speed; lora.unmerge(model) goes back
    lora.merge_and_unload(model)            a model without adapters, to be saved, converted or quantised
"""

from __future__ import annotations

from collections.abc import Iterable

from minilm.layers.base import Layer, generator_of
from minilm.layers.linear import Linear
from minilm.layers.lora import LoRALinear, adapters
from minilm.layers.replacing import put_sublayer, sublayer_places
from minilm.models.lora_files import FLOATS, load, save
from minilm.quantized.storing import refuse_quantized
from minilm.typing import Seed
from minilm.weights.peft import ends_with

__all__ = ["add", "adapters", "is_adapter", "load", "merge", "merge_and_unload", "save", "unmerge"]


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's: what `trainable` of an optimizer wants."""
    return name.rpartition(".")[2] in ("lora_A", "lora_B")


def add(
    model: Layer,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    rslora: bool = False,
    targets: Iterable[str] = ("q_proj", "v_proj"),
    seed: Seed = 0,
) -> list[str]:
    """Put a `LoRALinear` in the place of each `Linear` whose name ends with one of `targets`.

    Parameters
    ----------
    model : Layer
        Optimizers made before are of the old parameters: make new ones.
    rank, alpha, rslora
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
        No `Linear` has such a name, or the model's weights are quantised.
    """
    refuse_quantized(model, FLOATS)
    chosen = {*((targets,) if isinstance(targets, str) else targets)}
    linear = sublayer_places(model, (Linear,))
    places = {name: place for name, place in linear.items() if any(ends_with(name, each) for each in chosen)}
    unknown = sorted(each for each in chosen if not any(ends_with(name, each) for name in places))
    if unknown or not chosen:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear})) or "none"
        others = {name.rpartition(".")[2]: type(layer).__name__ for name, layer in model.named_layers()}
        got = ", ".join(f"{each}, a {others[each]}" if each in others else each for each in unknown) or "none"
        raise ValueError(f"targets must name Linear layers of the model, which has {known}, got {got}")
    generator = generator_of(seed)
    for layer, name, inner in places.values():
        put_sublayer(layer, name, LoRALinear(inner, rank, alpha, rslora=rslora, seed=generator))
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
