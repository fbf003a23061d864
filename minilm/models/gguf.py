"""Llama's family from GGUF files: what they call settings and weights, and what we call them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.layers.loading import blank
from minilm.models.llama_config import LlamaConfig
from minilm.ops import checks
from minilm.quantized.conversion import rebuilt
from minilm.quantized.spec import FORMATS, SMALL_GROUP, form_of
from minilm.typing import Array, DType, PathLike
from minilm.weights import Published
from minilm.weights.gguf import GGUFFile
from minilm.weights.llama_config import llama_config
from minilm.weights.loading import check_finite

if TYPE_CHECKING:
    from minilm.models.llama import Llama

__all__ = ["config_of_gguf", "llama_of_gguf", "name_in_gguf", "pairs_apart", "pairs_together"]

# setting of `LlamaConfig` -> the key of a GGUF file behind the architecture's name
KEYS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps")
FAMILIES = ("llama", "qwen2", "qwen3")  # architectures
PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
ENDS = ("eos", "eot", "eom")  # roles of tokens that end a text: of all, of a turn, of a message
OUTSIDE = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def name_in_gguf(name: str) -> str:
    """What a GGUF file calls a parameter of `Llama`."""
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", name)
    return OUTSIDE[name] if layer is None else f"blk.{layer[1]}.{PARTS[layer[2]]}.{layer[3]}"


def config_of_gguf(file: GGUFFile) -> LlamaConfig:
    """The configuration that a file's settings describe.

    Raises
    ------
    ValueError
        The file is of another architecture, lacks a setting, or has one that is not supported.
    """
    settings = file.settings
    family = settings.get("general.architecture")
    if family not in FAMILIES:
        raise ValueError(f"{file.path}: general.architecture must be one of {', '.join(map(repr, FAMILIES))}, got {family!r}")
    values = {name: settings[f"{family}.{key}"] for name, key in KEYS.items() if f"{family}.{key}" in settings}
    missing = [f"{family}.{KEYS[name]}" for name in REQUIRED if name not in values]
    if missing:
        raise ValueError(f"{file.path} lacks {', '.join(missing)}")
    scaling = settings.get(f"{family}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file:
        raise ValueError(f"{file.path}: scaled rotary positions are not read from GGUF, got {scaling!r}")
    if "token_embd.weight" not in file or len(file["token_embd.weight"].shape) != 2:
        raise ValueError(f"{file.path} has no matrix token_embd.weight")
    tied = "output.weight" not in file
    biased = "blk.0.attn_q.bias" in file and family == "llama"
    try:
        config = LlamaConfig(
            family=family,
            vocab_size=file["token_embd.weight"].shape[0],
            tie_word_embeddings=tied,
            attention_bias=biased,
            **values,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file.path}: {error}") from None
    rotated = settings.get(f"{family}.rope.dimension_count", config.width)
    if rotated != config.width:
        raise ValueError(f"{file.path}: rope.dimension_count must be a head's width, {config.width}, got {rotated}")
    return config


def llama_of_gguf(
    kind: type[Llama], path: PathLike, *, dtype: DType = np.float32, quantize: str | None = None, **changes: Any
) -> Llama:
    """See `Llama.from_gguf`."""
    with GGUFFile(path) as file:
        config = config_of_gguf(file).replace(**changes)
        try:
            with blank(dict(file)):
                model = kind(config, dtype=dtype)
        except ValueError as error:
            raise ValueError(f"{file.path}: {error}") from None
        names = {name_in_gguf(name): name for name in model.parameters}
        problems = [f"missing {name}" for name in names if name not in file]
        problems += [f"unexpected {name}" for name in file if name not in names]
        problems += [
            f"{name} has shape {file[name].shape}, wanted {model.parameters[parameter].shape}"
            for name, parameter in names.items()
            if name in file and file[name].shape != model.parameters[parameter].shape
        ]
        if problems:
            raise ValueError(f"{file.path} does not fit the model: {'; '.join(sorted(problems)[:20])}")
        if quantize is not None:
            _quantized(model, file, quantize)
        left = model.parameters
        for name, parameter in names.items():
            if parameter in left and not (quantize and parameter == "embed_tokens.weight" and config.tie_word_embeddings):
                values = file.read(name)
                check_finite(file.path, name, values)
                left[parameter][...] = pairs_apart(values, parameter, config)
        model.published = Published(_content(config, file.settings), None)
    return model


def _quantized(model: Llama, file: GGUFFile, kind: str) -> None:
    """Give the affine maps weights in a format, from the file."""
    from minilm.quantized.gguf import packed  # compiles

    checks.option("quantize", kind, FORMATS)
    if model.dtype != np.float32:
        raise ValueError(f"quantized weights go with float32, got dtype={model.dtype}")

    def source(name, _):
        stored = "embed_tokens.weight" if name == "lm_head.weight" and model.config.tie_word_embeddings else name
        weight, rounding = name_in_gguf(stored), form_of(name, kind, SMALL_GROUP)[0]
        return packed(file, weight, rounding, lambda rows: pairs_apart(rows, name, model.config))

    rebuilt(model, kind, SMALL_GROUP, source)


# Rotary positions turn pairs of a head's K numbers. Here and at Hugging Face a pair is (r, r + K/2). In files of architecture
# "llama" it is (2r, 2r + 1), neighbours, which concerns the rows of the maps that give queries and keys.


def pairs_apart(values: Array, name: str, config: LlamaConfig) -> Array:
    """The rows of a file's parameter, (O, ...), in the model's order."""
    heads = _rotated_heads(name, config)
    return values if heads is None else values.reshape(heads, config.width // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)


def pairs_together(values: Array, name: str, config: LlamaConfig) -> Array:
    """The rows of a model's parameter, (O, ...), in a file's order: the inverse of `pairs_apart`."""
    heads = _rotated_heads(name, config)
    return values if heads is None else values.reshape(heads, 2, config.width // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _rotated_heads(name: str, config: LlamaConfig) -> int | None:
    """How many heads a parameter's rows are, where their order differs; else None."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.groups}
    return heads.get(name.split(".")[-2]) if config.family == "llama" else None


def _content(config: LlamaConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """config.json as transformers would have it, with the ids of special tokens."""
    ids = {"bos_token_id": "bos_token_id", "pad_token_id": "padding_token_id"}
    content = llama_config({name: getattr(config, name) for name in ("family", "window_layers", *config.hugging_face_names())})
    content |= {name: settings.get(f"tokenizer.ggml.{key}") for name, key in ids.items()}
    ends = dict.fromkeys(settings.get(f"tokenizer.ggml.{key}_token_id") for key in ENDS)
    several = [id for id in ends if id is not None]
    return content | {"eos_token_id": several[0] if len(several) == 1 else several or None}
