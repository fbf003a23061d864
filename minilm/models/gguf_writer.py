"""Llama's family into GGUF files, as llama.cpp reads them; `minilm.models.gguf` has the names, and reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minilm import devices
from minilm.models.gguf import FAMILIES, KEYS, name_in_gguf
from minilm.models.llama_config import LlamaConfig
from minilm.tokenizers import ByteLevelBPE, Tokenizer
from minilm.tokenizers.bpe import patterns
from minilm.typing import Array, PathLike
from minilm.weights.gguf_writer import write_gguf_file

if TYPE_CHECKING:
    from minilm.models.llama import Llama

__all__ = ["write_gguf"]

NORMAL, CONTROL = 1, 3  # types of tokens
PUBLISHED = ("gpt-2", "llama-bpe", "qwen2", "smollm")  # llama.cpp's names of ways to cut a text


def write_gguf(model: Llama, path: PathLike, tokenizer: Tokenizer | None = None) -> None:
    """Write a model in float32, with its tokenizer where there is one.

    Parameters
    ----------
    model : Llama
        Of the families "llama", "qwen2" and "qwen3", without scaled positions, windows and biases of their networks.
    path : str or os.PathLike
    tokenizer : ByteLevelBPE, optional

    Raises
    ------
    ValueError
        For another model or tokenizer.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, LlamaConfig) or config.family not in FAMILIES:
        kind = config.family if isinstance(config, LlamaConfig) else type(model).__name__
        raise ValueError(f"GGUF is written of Llama's families {', '.join(FAMILIES)}, got {kind}")
    for name in ("rope_scaling", "sliding_window", "mlp_bias"):
        if getattr(config, name):
            raise ValueError(f"a model with {name} = {getattr(config, name)!r} is not written as GGUF")
    settings: dict[str, Any] = {"general.architecture": config.family, "general.file_type": 0}
    stated = {name: getattr(config, name) for name in KEYS} | {"num_key_value_heads": config.groups}
    stated = {KEYS[name]: value for name, value in stated.items() if value is not None}
    stated |= {"rope.dimension_count": config.width, "vocab_size": config.vocab_size}
    if config.head_dim is not None:
        stated["attention.value_length"] = config.head_dim
    settings |= {f"{config.family}.{key}": value for key, value in stated.items()}
    if tokenizer is not None:
        settings |= _described(tokenizer, config.vocab_size)
    for key, ids in (("bos", "bos_token_id"), ("eos", "eos_token_id")):
        id = None if model.published is None else model.published.config.get(ids)
        if isinstance(id, int):
            settings[f"tokenizer.ggml.{key}_token_id"] = id
    parameters = model.parameters
    arrays = {name_in_gguf(name): _arranged(devices.to_host(value), name, config) for name, value in parameters.items()}
    write_gguf_file(path, settings, arrays)


def _arranged(values: Array, name: str, config: LlamaConfig) -> Array:
    """Rows of q and k with pairs as neighbours, as llama.cpp's Llama has them; here they are (r, r + K/2)."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.groups}.get(name.split(".")[-2])
    if config.family != "llama" or heads is None:
        return values
    return values.reshape(heads, 2, config.width // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _described(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """The tables of a byte-level BPE."""
    if not isinstance(tokenizer, ByteLevelBPE):
        raise ValueError(f"GGUF is written with a byte-level BPE, got a {type(tokenizer).__name__}")
    cut = next((name for name in PUBLISHED if tokenizer.pattern == patterns.NAMED[name]), None)
    if cut is None:
        raise ValueError(f"GGUF has no name for the way in which the tokenizer cuts texts, {tokenizer.pattern!r:.80}")
    special, tokens = set(tokenizer.special_tokens), list(tokenizer.vocabulary[: tokenizer.vocab_size])
    tokens += [f"[PAD{id}]" for id in range(len(tokens), vocab_size)]
    kinds = [CONTROL if token in special or id >= tokenizer.vocab_size else NORMAL for id, token in enumerate(tokens)]
    tables = {"tokens": tokens, "token_type": kinds, "merges": [" ".join(pair) for pair in tokenizer.merges]}
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": cut, **{f"tokenizer.ggml.{k}": v for k, v in tables.items()}}
