"""Whether UTF-8 is in normalisation form C: a look at each character, and at eight bytes of ASCII together."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.intrinsics import byte_at, load64
from minilm.tokenizers.bpe.nfc import DOUBTFUL, kinds_of_characters

_BEYOND_ASCII = np.uint64(0x8080808080808080)


@jit(counted=False)
def _is_normal(text, size, kinds):
    i, before = 0, 0  # the combining class of the character before
    while i < size:
        if i + 8 <= size and load64(text, i) & _BEYOND_ASCII == 0:
            i, before = i + 8, 0
            continue
        lead = byte_at(text, i)
        if lead < 0x80:
            i, before = i + 1, 0
            continue
        if lead < 0xE0:
            code, width = (lead & 0x1F) << 6 | byte_at(text, i + 1) & 0x3F, 2
        else:
            code, width = (lead & 0x0F) << 12 | (byte_at(text, i + 1) & 0x3F) << 6 | byte_at(text, i + 2) & 0x3F, 3
            if lead >= 0xF0:
                code, width = code << 6 | byte_at(text, i + 3) & 0x3F, 4
        kind = kinds[np.uint64(code)]
        if kind >= DOUBTFUL or 0 < kind < before:
            return False
        i, before = i + width, kind
    return True


def is_normal(text: np.ndarray, size: int) -> bool:
    """Whether text[:size], (N + PADDING,) uint8, valid UTF-8, is in NFC for certain: where no place is doubtful, see `nfc`."""
    return _is_normal(text, size, kinds_of_characters())
