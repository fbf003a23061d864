"""The tokenizer that a GGUF file describes in its settings ``tokenizer.ggml.*``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minilm.tokenizers.bpe import ByteLevelBPE
from minilm.tokenizers.bpe.stored import StoredBPE

__all__ = ["StoredBPE", "tokenizer_of_gguf"]


def tokenizer_of_gguf(settings: Mapping[str, Any]) -> ByteLevelBPE:
    """The tokenizer of a GGUF file; see `minilm.tokenizers.bpe.gguf` for what it says.

    Parameters
    ----------
    settings : mapping
        The file's; see `minilm.weights.gguf.GGUFFile`.

    Raises
    ------
    ValueError
        It is of a kind that is not read, or lacks something.
    """
    return StoredBPE.from_gguf(settings)
