"""Byte-pair encoding.

`ByteLevelBPE` is GPT-2's and GPT-3's, `GPT1BPE` GPT-1's. To read: `alphabet` (how bytes are written), `pieces` (how a text is
cut), `merging` (the algorithm), `encoding` (what makes it fast), `training` (how merges are learnt), `hugging_face` (files).
"""

from .byte_level import ByteLevelBPE
from .gpt1 import GPT1BPE, SUFFIX
from .hugging_face import from_folder, is_vocabulary, read_merges

__all__ = ["AnyBPE", "ByteLevelBPE", "GPT1BPE", "is_vocabulary"]


class AnyBPE:
    """Reads either of the two from what their files hold."""

    @staticmethod
    def _from_fields(fields: dict):
        model = fields.get("model")
        suffix = model.get("end_of_word_suffix") if isinstance(model, dict) else None
        return (GPT1BPE if suffix == SUFFIX else ByteLevelBPE)._from_fields(fields)

    @staticmethod
    def from_files(vocabulary, merges):
        """A tokenizer from its vocabulary and merges: GPT-1's if merges end words."""
        ends = any(right.endswith(SUFFIX) for _, right in read_merges(merges))
        return (GPT1BPE if ends else ByteLevelBPE).from_files(vocabulary, merges)

    @classmethod
    def from_pretrained(cls, folder):
        """A tokenizer from a folder."""
        return from_folder(cls, folder)
