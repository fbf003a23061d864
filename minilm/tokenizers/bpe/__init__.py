"""Byte-pair encoding.

`ByteLevelBPE` is GPT-2's. To read: `alphabet` (how bytes are written), `pieces` (how a text is cut), `merging` (the algorithm),
`encoding` (what makes it fast), `training` (how merges are learnt), `hugging_face` (files).
"""

from .byte_level import ByteLevelBPE

__all__ = ["ByteLevelBPE"]
