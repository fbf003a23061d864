"""The config.json of Llama and its relatives into plain settings, and back: those of `minilm.models.LlamaConfig`, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minilm.ops import checks

__all__ = ["LLAMAS", "llama_config", "llama_settings", "two_fields_of_rope"]


class Family(NamedTuple):
    """What transformers assumes of a family where its config.json does not say."""

    name: str  # of the classes, before "ForCausalLM"
    sizes: tuple[int, ...]  # by SIZES
    position: int = 2048
    extra: dict[str, Any] = {}


SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
SAME: dict[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "head_dim": None,
}
GEMMA = {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True, "head_dim": 256}
CAPS = {"query_pre_attn_scalar": 256.0, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
EXPERTS = {"num_local_experts": 8, "num_experts_per_tok": 2}
LLAMAS = {
    "llama": Family("Llama", (32000, 4096, 11008, 32, 32, 32)),
    "mistral": Family("Mistral", (32000, 4096, 14336, 32, 32, 8), 131_072, {"sliding_window": 4096}),
    "mixtral": Family(
        "Mixtral",
        (32000, 4096, 14336, 32, 32, 8),
        131_072,
        {"sliding_window": None, "rope_theta": 1e6, "rms_norm_eps": 1e-5, **EXPERTS},
    ),
    "qwen2": Family("Qwen2", (151936, 4096, 22016, 32, 32, 32), 32_768, {"sliding_window": 4096, "max_window_layers": 28}),
    "qwen3": Family(
        "Qwen3", (151936, 4096, 22016, 32, 32, 32), 32_768, {"sliding_window": 4096, "max_window_layers": 28, "head_dim": 128}
    ),
    "gemma": Family("Gemma", (256000, 3072, 24576, 28, 16, 16), 8192, GEMMA),
    "gemma2": Family("Gemma2", (256000, 2304, 9216, 26, 8, 4), 8192, {**GEMMA, **CAPS, "sliding_window": 4096}),
}
# Fields that change what a model computes, and the one value of each that is supported.
ONLY = {
    "pretraining_tp": 1,
    "partial_rotary_factor": 1.0,
    "use_bidirectional_attention": None,
    "router_jitter_noise": 0.0,
    "output_router_logits": False,  # True: the loss has a part for the balance of the experts
}
NO_BIAS: dict[str, tuple[str, ...]] = {family: () if family == "llama" else ("mlp_bias",) for family in LLAMAS}
NO_BIAS |= {family: ("mlp_bias", "attention_bias") for family in ("mistral", "mixtral", "qwen2")}


def llama_settings(config: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The settings of `minilm.models.LlamaConfig` from the content of a config.json.

    Raises
    ------
    ValueError
        Naming a field that no model here supports. What a value may be is for `LlamaConfig` to say.
    """
    assumed, config = LLAMAS[family], two_fields_of_rope(config)
    settings = {"max_position_embeddings": assumed.position, **dict(zip(SIZES, assumed.sizes, strict=True)), **SAME}
    settings |= assumed.extra
    if "num_key_value_heads" not in config and family == "llama" and "num_attention_heads" in config:
        settings["num_key_value_heads"] = config["num_attention_heads"]
    settings |= {name: config[name] for name in settings if name in config}
    settings["hidden_act"] = config.get("hidden_activation") or settings["hidden_act"]
    for name, supported in ONLY.items():
        if config.get(name, supported) != supported:
            raise ValueError(f"{name} = {config[name]!r} is not supported, wanted {supported!r}")
    for name in NO_BIAS[family]:
        if settings[name]:
            raise ValueError(f"{name} = {settings[name]!r} is not supported in family {family!r}, which has none")
    _read_window(config, family, settings)
    return {"family": family, **settings}


def two_fields_of_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a config.json with rope_theta and rope_scaling; transformers 5 keeps both in one table, rope_parameters.

    Raises
    ------
    TypeError, ValueError
        rope_parameters is no table, a table holds tables, one for each kind of layer, its partial_rotary_factor is not 1, or two
        fields say different things.
    """
    thetas = {"rope_theta": config["rope_theta"]} if "rope_theta" in config else {}  # by the field that says so
    scalings = {}
    for name in ("rope_scaling", "rope_parameters"):
        table = config.get(name)
        if isinstance(table, Mapping):
            if any(isinstance(value, Mapping) for value in table.values()):
                raise ValueError(f"{name} must be one table for all layers, got {checks.describe(table)}")
            thetas |= {name: table["rope_theta"]} if "rope_theta" in table else {}
        elif table is not None and name == "rope_parameters":
            raise TypeError(f"rope_parameters must be a table, got {checks.describe(table)}")
        scalings |= {} if table is None else {name: _scaling_of(table)}
    fields = {name: value for name, value in config.items() if name != "rope_parameters"}
    for name, values in (("rope_theta", thetas), ("rope_scaling", scalings)):
        for field, value in values.items():
            first, before = next(iter(values.items()))
            if value != before:
                raise ValueError(f"{name} is {before!r} by {first}, and {value!r} by {field}: take one out")
            fields[name] = value
    return fields


def _scaling_of(table: Any) -> Any:
    """What a table says of the scaling alone, its kind as rope_type, or None where it scales nothing."""
    if not isinstance(table, Mapping):
        return table  # `LlamaConfig` refuses it
    if table.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(f"partial_rotary_factor = {table['partial_rotary_factor']!r} is not supported, wanted 1.0")
    kind = table.get("rope_type", table.get("type"))
    if kind in (None, "default"):
        return None
    other = ("type", "rope_type", "rope_theta", "partial_rotary_factor")
    return {"rope_type": kind} | {name: value for name, value in table.items() if name not in other}


def _read_window(config: Mapping, family: str, settings: dict) -> None:
    """sliding_window and the layers that have one."""
    kinds = config.get("layer_types")
    if family.startswith("qwen"):
        if not config.get("use_sliding_window", False):
            settings["sliding_window"] = None
        settings["window_layers"] = "upper"
        if settings["sliding_window"] is None:
            settings |= {"window_layers": "all", "max_window_layers": 0}
    elif family == "gemma2":
        settings["window_layers"] = "even"
    if kinds is None or family not in ("qwen2", "qwen3", "gemma2"):
        return
    has = [kind == "sliding_attention" for kind in kinds]
    layers = range(settings["num_hidden_layers"])
    if not any(has):
        settings |= {"sliding_window": None, "window_layers": "all"} | ({"max_window_layers": 0} if family != "gemma2" else {})
    elif has == [layer % 2 == 0 for layer in layers]:
        settings["window_layers"] = "even"
    elif has == [layer >= has.index(True) for layer in layers]:
        settings |= {"window_layers": "upper", "max_window_layers": has.index(True)}
    else:
        raise ValueError(f"layer_types {kinds!r} is not supported: a window in every second layer, or from one layer on")


def llama_config(settings: Mapping[str, Any], architecture: str | None = None) -> dict[str, Any]:
    """The content of a config.json, from the settings of `minilm.models.LlamaConfig`.

    Raises
    ------
    ValueError
        Where the family's class in transformers has no such model.
    """
    family = settings["family"]
    names = [*SIZES, "max_position_embeddings", *SAME]
    config = {"model_type": family, "architectures": [architecture or f"{LLAMAS[family].name}ForCausalLM"]}
    config |= {name: settings[name] for name in names if settings.get(name) is not None}
    if "head_dim" in LLAMAS[family].extra:  # where transformers assumes another than D / H
        config["head_dim"] = settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"]
    config["num_key_value_heads"] = settings.get("num_key_value_heads") or settings["num_attention_heads"]
    if settings.get("rope_scaling"):
        config["rope_scaling"] = dict(settings["rope_scaling"])
    if family.startswith("gemma"):
        config["hidden_activation"] = config["hidden_act"]
    for name in NO_BIAS[family]:
        if config.pop(name, False):
            raise ValueError(f"no model of family {family!r} has {name} in transformers")
    if family == "mixtral":
        config |= {name: settings.get(name) or default for name, default in EXPERTS.items()}
    if family == "gemma2":
        config |= {name: settings.get(name) for name in CAPS}
        scalar = config["query_pre_attn_scalar"] or config["head_dim"]
        if scalar != int(scalar):
            raise ValueError(f"query_pre_attn_scalar must be a whole number in transformers, got {scalar}")
        config["query_pre_attn_scalar"] = int(scalar)
    _write_window(config, family, settings)
    return config


def _write_window(config: dict, family: str, settings: Mapping) -> None:
    window, where = settings.get("sliding_window"), settings.get("window_layers", "all")
    first = settings.get("max_window_layers", 0) if where == "upper" else 0
    if family in ("mistral", "mixtral"):
        if window is not None and where != "all":
            raise ValueError(
                f"{LLAMAS[family].name} in transformers has its window in all layers, and this model window_layers = {where!r}"
            )
        config["sliding_window"] = window
    elif family.startswith("qwen") or family == "gemma2":
        has = {"all": lambda _: True, "even": lambda layer: layer % 2 == 0, "upper": lambda layer: layer >= first}[where]
        layers = range(settings["num_hidden_layers"])
        kinds = ["sliding_attention" if window is not None and has(layer) else "full_attention" for layer in layers]
        if family == "gemma2" and window is None:  # transformers wants one also where no layer has it
            window = settings.get("max_position_embeddings")
        config |= {"layer_types": kinds, "sliding_window": window}
        if family.startswith("qwen"):
            config |= {"use_sliding_window": window is not None, "max_window_layers": first}
