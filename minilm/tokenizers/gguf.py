"""The tokenizer that a GGUF file describes in its settings ``tokenizer.ggml.*``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minilm.tokenizers.bpe import ByteLevelBPE, alphabet

__all__ = ["StoredBPE", "tokenizer_of_gguf"]


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

    def _encode(self, text, start, source, added=None):
        ids = super()._encode(text, start, source, added)  # (T,)
        return ids[ids < self._size]

    def _with_offsets(self, text, allowed_special, disallowed_special):
        ids, offsets = super()._with_offsets(text, allowed_special, disallowed_special)  # (T,), (T, 2)
        return ids[ids < self._size], offsets[ids < self._size]


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
