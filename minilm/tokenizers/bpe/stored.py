"""A byte-level BPE of a file whose vocabulary lacks bytes, as SmolLM2's does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from minilm.tokenizers.bpe import alphabet
from minilm.tokenizers.bpe.byte_level import ByteLevelBPE

__all__ = ["StoredBPE"]

# Control characters but for tabulator and line ends, and what begins code points of planes 4 to 11, which no character has.
UNUSED = {*range(32), 127, 0xF1, 0xF2} - {9, 10, 13}


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

    @staticmethod
    def is_of(vocabulary: Collection[str]) -> bool:
        """Whether a vocabulary lacks some bytes, and none of which texts are made."""
        lacking = {byte for byte, c in enumerate(alphabet.characters()) if c not in vocabulary and byte not in alphabet.NEVER}
        return bool(lacking) and lacking <= UNUSED

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens as the file has them."""
        return self._vocabulary[: self._size]

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
