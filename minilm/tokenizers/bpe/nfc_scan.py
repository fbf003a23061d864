"""Whether UTF-8 is in normalisation form C: a look at each character, and at eight bytes of ASCII together."""

from __future__ import annotations

import functools

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.byte_trie import character_at, kind_of, make_trie
from minilm.tokenizers.bpe.intrinsics import load64
from minilm.tokenizers.bpe.nfc import DOUBTFUL, kinds_of_characters

_BEYOND_ASCII = np.uint64(0x8080808080808080)


@functools.cache
def _trie() -> np.ndarray:
    return make_trie(kinds_of_characters().astype(np.uint32))


@jit(counted=False)
def _is_normal(text, size, trie):
    i, before = 0, 0  # the combining class of the character before
    while i < size:
        if i + 8 <= size and load64(text, i) & _BEYOND_ASCII == 0:
            i, before = i + 8, 0
            continue
        content, width = character_at(text, i)
        kind = kind_of(trie, content)
        if kind >= DOUBTFUL or 0 < kind < before:
            return False
        i, before = i + width, kind
    return True


def is_normal(text: np.ndarray, size: int) -> bool:
    """Whether text[:size], (N + PADDING,) uint8, valid UTF-8, is in NFC for certain: where no place is doubtful, see `nfc`."""
    return _is_normal(text, size, _trie())
