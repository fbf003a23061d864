"""The vocabulary that the metadata of a GGUF file holds.

tokenizer.ggml.model         "gpt2" for a byte-level BPE
tokenizer.ggml.pre           the name of its pattern, see `patterns.NAMED`
tokenizer.ggml.tokens        in the order of their ids, in GPT-2's byte alphabet
tokenizer.ggml.token_type    of each: 1 ordinary, 3 special ("control"), 4 added by a user
tokenizer.ggml.merges        "left right", the first to be merged first
tokenizer.ggml.eos_token_id
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.bpe import hugging_face, patterns

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
    end = metadata.get(PREFIX + "eos_token_id")
    return {
        "vocabulary": tokens,
        "merges": hugging_face.pairs(list(metadata[PREFIX + "merges"]), PREFIX + "merges"),
        "special_tokens": [token for token, kind in marked if kind == SPECIAL],
        "added_tokens": [AddedToken(token) for token, kind in marked if kind == ADDED],
        "eos_token": None if end is None else tokens[int(end)],
        "pattern": pattern,
        "normalizer": "NFC" if pattern == "qwen2" else None,
        "ignore_merges": pattern == "llama-bpe",
    }
