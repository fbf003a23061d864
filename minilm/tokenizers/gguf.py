"""The tokenizer that a GGUF file describes in its settings ``tokenizer.ggml.*``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minilm.tokenizers.bpe import ByteLevelBPE, alphabet, patterns

__all__ = ["StoredBPE", "tokenizer_of_gguf"]

CONTROL, USER_DEFINED = 3, 4  # tokens that a text spells and merges do not make, as tokenizer.ggml.token_type has them


class StoredBPE(ByteLevelBPE):
    """A `ByteLevelBPE` as files have it, which may lack tokens for some bytes.

    Parameters
    ----------
    vocabulary : sequence of str
        In the order of the ids. What of a text has no token in it is left out, as Hugging Face's tokenizers do: control
        characters, of which SmolLM2 lacks some.
    **options
        See `ByteLevelBPE`.
    """

    def __init__(self, vocabulary: Sequence[str], merges: Iterable[tuple[str, str]], **options: Any):
        known = set(vocabulary)
        lacking = [c for byte, c in enumerate(alphabet.characters()) if c not in known and byte not in alphabet.NEVER]
        super().__init__([*vocabulary, *lacking], merges, **options)
        self._size = len(vocabulary)

    @property
    def vocab_size(self) -> int:
        """V, without the bytes that the file lacks."""
        return self._size

    def encode(self, text: str, **options: Any) -> np.ndarray:
        """As `ByteLevelBPE.encode`."""
        ids = super().encode(text, **options)  # (T,)
        return ids[ids < self._size]


def tokenizer_of_gguf(settings: Mapping[str, Any]) -> ByteLevelBPE:
    """The tokenizer of a GGUF file.

    Parameters
    ----------
    settings : mapping
        The file's; see `minilm.weights.gguf.GGUFFile`.

    Raises
    ------
    ValueError
        It is of a kind that is not read, or lacks something.
    """
    kind = settings.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ValueError(f"tokenizer.ggml.model must be 'gpt2', byte-level BPE, got {kind!r}")
    tables = [settings.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges", "token_type")]
    if not all(isinstance(table, list) for table in tables):
        raise ValueError("the file lacks one of tokenizer.ggml.tokens, merges and token_type")
    tokens, merges, kinds = tables
    cut = settings.get("tokenizer.ggml.pre", "gpt-2")
    if cut not in patterns.NAMED:
        raise ValueError(f"tokenizer.ggml.pre must be one of {', '.join(map(repr, patterns.NAMED))}, got {cut!r}")
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind in (CONTROL, USER_DEFINED)]
    end = settings.get("tokenizer.ggml.eos_token_id")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    end_token = None if end is None else tokens[end]
    return StoredBPE(tokens, pairs, pattern=cut, special_tokens=special, eos_token=end_token)
