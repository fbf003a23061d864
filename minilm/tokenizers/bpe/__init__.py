"""Byte-pair encoding.

`ByteLevelBPE` is GPT-2's and GPT-3's, `GPT1BPE` GPT-1's. To read: `alphabet` (how bytes are written), `pieces` (how a text is
cut), `merging` (the algorithm) and `pair_ranks` (its table), `encoding` (what makes it fast, with `recent`, `characters`, `words`
and `ascii_starts`), `training` (how merges are learnt), `hugging_face` (files).
"""

from __future__ import annotations

from collections.abc import Iterable

from minilm.typing import PathLike

from .byte_level import ByteLevelBPE
from .gpt1 import GPT1BPE, SUFFIX
from .hugging_face import TYPE, from_folder, is_vocabulary, missing
from .stored import StoredBPE

__all__ = ["TYPE", "AnyBPE", "ByteLevelBPE", "GPT1BPE", "is_vocabulary", "missing"]


class AnyBPE:
    """Reads either of the two from what their files hold."""

    @staticmethod
    def _from_fields(fields: dict, *folder_config):
        model = fields.get("model")
        suffix = model.get("end_of_word_suffix") if isinstance(model, dict) else None
        kind = GPT1BPE if suffix == SUFFIX else ByteLevelBPE
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        if kind is ByteLevelBPE and isinstance(vocabulary, dict) and StoredBPE.is_of(vocabulary):
            kind = StoredBPE
        return kind._from_fields(fields, *folder_config)

    @staticmethod
    def like(merges: Iterable[tuple[str, str]]) -> type:
        """The class of tokenizer that merges are of: GPT-1's if they end words."""
        return GPT1BPE if any(right.endswith(SUFFIX) for _, right in merges) else ByteLevelBPE

    @classmethod
    def from_pretrained(cls, folder: PathLike) -> ByteLevelBPE | GPT1BPE:
        """A tokenizer from a folder."""
        return from_folder(cls, folder)


def __dir__() -> list[str]:
    return sorted(__all__)
