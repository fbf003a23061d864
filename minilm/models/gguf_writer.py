"""Llama's family into GGUF files, as llama.cpp reads them; `minilm.models.gguf` has the names, and reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minilm import devices
from minilm.layers.lora import refuse_adapters
from minilm.models.gguf import ENDS, FAMILIES, KEYS, name_in_gguf, pairs_together
from minilm.models.llama_config import LlamaConfig
from minilm.quantized.storing import refuse_quantized
from minilm.tokenizers import ByteLevelBPE, Tokenizer
from minilm.tokenizers.bpe import patterns
from minilm.tokenizers.gguf import tokenizer_of_gguf
from minilm.typing import PathLike
from minilm.weights.gguf_writer import write_gguf_file

if TYPE_CHECKING:
    from minilm.models.llama import Llama

__all__ = ["write_gguf"]

NORMAL, CONTROL, ADDED = 1, 3, 4  # types of tokens
PADDING = "[PAD"  # begins the names of rows of the model's tables that the tokenizer has no token for
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
    _check_writable(model)
    config, settings = model.config, _settings(model)
    if tokenizer is not None:
        settings |= _described(tokenizer, config.vocab_size)
        _check_read_again(settings, tokenizer)
    parameters = model.parameters
    arrays = {name_in_gguf(name): pairs_together(devices.to_host(value), name, config) for name, value in parameters.items()}
    write_gguf_file(path, settings, arrays)


def _check_writable(model: Any) -> None:
    """ValueError for a model that GGUF cannot describe, or that is quantised or has adapters."""
    config = getattr(model, "config", None)
    if not isinstance(config, LlamaConfig) or config.family not in FAMILIES:
        kind = config.family if isinstance(config, LlamaConfig) else type(model).__name__
        raise ValueError(f"GGUF is written of Llama's families {', '.join(FAMILIES)}, got {kind}")
    refuse_quantized(model, "GGUF is written from float weights")
    refuse_adapters(model)
    for name, usual in {"rope_scaling": None, "sliding_window": None, "mlp_bias": False, "hidden_act": "silu"}.items():
        if getattr(config, name) != usual:
            raise ValueError(f"a model with {name} = {getattr(config, name)!r} is not written as GGUF")
    if config.attention_bias and config.family != "llama":
        raise ValueError(f"a {config.family} with attention_bias = True is not written as GGUF")
    if len(model.end_ids) > len(ENDS):
        raise ValueError(f"GGUF names at most {len(ENDS)} tokens that end a text, and the model has {len(model.end_ids)}")


def _settings(model: Llama) -> dict[str, Any]:
    """The model's configuration by GGUF's names, and the tokens that begin and end a text."""
    config = model.config
    settings: dict[str, Any] = {"general.architecture": config.family, "general.file_type": 0}
    stated = {name: getattr(config, name) for name in KEYS} | {"num_key_value_heads": config.groups}
    stated = {KEYS[name]: value for name, value in stated.items() if value is not None}
    stated |= {"rope.dimension_count": config.width, "vocab_size": config.vocab_size}
    if config.head_dim is not None:
        stated["attention.value_length"] = config.head_dim
    settings |= {f"{config.family}.{key}": value for key, value in stated.items()}
    begin = None if model.published is None else model.published.config.get("bos_token_id")
    if isinstance(begin, int):
        settings["tokenizer.ggml.bos_token_id"] = begin
    return settings | {f"tokenizer.ggml.{key}_token_id": id for key, id in zip(ENDS, model.end_ids, strict=False)}


def _described(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """The tables of a byte-level BPE."""
    if not isinstance(tokenizer, ByteLevelBPE):
        raise ValueError(f"GGUF is written with a byte-level BPE, got a {type(tokenizer).__name__}")
    cut = next((name for name in PUBLISHED if tokenizer.pattern == patterns.NAMED[name]), None)
    if cut is None:
        raise ValueError(f"GGUF has no name for the way in which the tokenizer cuts texts, {tokenizer.pattern!r:.80}")
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size:,} tokens, and the model vectors for {vocab_size:,}")
    tokens = list(tokenizer.vocabulary[: tokenizer.vocab_size])
    added = {token.id: CONTROL if token.special else ADDED for token in tokenizer.added_tokens}
    tables: dict[str, Any] = {"tokens": [*tokens, *(f"{PADDING}{id}]" for id in range(len(tokens), vocab_size))]}
    tables["token_type"] = [added.get(id, NORMAL if id < len(tokens) else CONTROL) for id in range(vocab_size)]
    tables["merges"] = [" ".join(pair) for pair in tokenizer.merges]
    around = ("A",) if tokenizer.post_processor is None else tokenizer.post_processor.single
    at = around.index("A")
    for key, ids in (("bos", around[:at]), ("eos", around[at + 1 :])):
        tables[f"add_{key}_token"] = bool(ids)
        tables |= {f"{key}_token_id": ids[-1]} if ids else {}
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": cut, **{f"tokenizer.ggml.{k}": v for k, v in tables.items()}}


def _check_read_again(settings: dict[str, Any], tokenizer: ByteLevelBPE) -> None:
    """ValueError where the settings do not describe the tokenizer: GGUF has no words for all that one may do."""
    written = _traits(tokenizer_of_gguf(settings))
    for name, value in _traits(tokenizer).items():
        if written[name] != value:
            raise ValueError(
                f"GGUF cannot say of the tokenizer that {name} is {value!r:.80}: it would be read as {written[name]!r:.80}"
            )


def _traits(tokenizer: ByteLevelBPE) -> dict[str, Any]:
    """What tokens a text becomes depends on, beside vocabulary and merges."""
    flags = [(t.id, t.content, t.special, t.single_word, t.lstrip, t.rstrip) for t in tokenizer.added_tokens]
    return {
        "normalizer": tokenizer.normalizer,
        "ignore_merges": tokenizer.ignore_merges,
        "added_tokens": [each for each in flags if not each[1].startswith(PADDING)],
        "post_processor": ("A",) if tokenizer.post_processor is None else tokenizer.post_processor.single,
    }
