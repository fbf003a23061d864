"""The vocabulary that the metadata of a GGUF file holds.

tokenizer.ggml.model         "gpt2" for a byte-level BPE
tokenizer.ggml.pre           the name of its pattern, see `patterns.NAMED`
tokenizer.ggml.tokens        in the order of their ids, in GPT-2's byte alphabet
tokenizer.ggml.token_type    of each: 1 ordinary, 3 special ("control"), 4 added by a user
tokenizer.ggml.merges        "left right", the first to be merged first
tokenizer.ggml.eos_token_id, bos_token_id
tokenizer.ggml.add_bos_token, add_eos_token   whether `encode` puts them around a text; unsaid, it does so with Llama 3's bos
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.bpe import hugging_face, patterns
from minilm.tokenizers.post_processor import framed

PREFIX = "tokenizer.ggml."
SPECIAL, ADDED = 3, 4  # types of tokens


def arguments(metadata: Mapping[str, Any]) -> dict:
    """The arguments of `ByteLevelBPE` that GGUF metadata give.

    Raises
    ------
    ValueError
        Naming the key that lacks, or that says of another tokenizer.
    """
    for name in ("model", "tokens", "merges"):
        if PREFIX + name not in metadata:
            raise ValueError(f"the metadata lack {PREFIX}{name}")
    if metadata[PREFIX + "model"] != "gpt2":
        raise ValueError(f"{PREFIX}model must be 'gpt2', a byte-level BPE, got {metadata[PREFIX + 'model']!r}")
    pattern = metadata.get(PREFIX + "pre", "gpt-2")
    if pattern not in patterns.NAMED:
        raise ValueError(f"{PREFIX}pre must be one of {', '.join(patterns.NAMED)}, got {pattern!r}")
    tokens = list(metadata[PREFIX + "tokens"])
    types = [int(each) for each in metadata.get(PREFIX + "token_type", [1] * len(tokens))]
    if len(types) != len(tokens):
        raise ValueError(f"{PREFIX}token_type must have {len(tokens)} entries, one a token, got {len(types)}")
    marked = [(token, kind) for token, kind in zip(tokens, types, strict=True) if kind in (SPECIAL, ADDED)]
    begin, end = (_token(metadata, name, tokens) for name in ("bos", "eos"))
    adds = {"bos": pattern == "llama-bpe", "eos": False}  # as llama.cpp takes for granted
    adds = {name: metadata.get(f"{PREFIX}add_{name}_token", usual) for name, usual in adds.items()}
    return {
        "vocabulary": tokens,
        "merges": hugging_face.pairs(list(metadata[PREFIX + "merges"]), PREFIX + "merges"),
        "special_tokens": [token for token, kind in marked if kind == SPECIAL],
        "added_tokens": [AddedToken(token) for token, kind in marked if kind == ADDED],
        "eos_token": None if end is None else end[0],
        "pattern": pattern,
        "normalizer": "NFC" if pattern == "qwen2" else None,
        "ignore_merges": pattern == "llama-bpe",
        "post_processor": framed(begin if adds["bos"] else None, end if adds["eos"] else None),
    }


def _token(metadata: Mapping[str, Any], name: str, tokens: list[str]) -> tuple[str, int] | None:
    """The token for a role, with its id; None where the metadata name none."""
    id = metadata.get(f"{PREFIX}{name}_token_id")
    if id is None:
        return None
    if not 0 <= int(id) < len(tokens):
        raise ValueError(f"{PREFIX}{name}_token_id must be in 0 ... {len(tokens) - 1}, got {id}")
    return tokens[int(id)], int(id)
