"""How GPT-2 writes bytes as text: one printable character a byte.

Vocabularies and merges are kept in JSON and in lines of text, so a token's bytes are written as characters: the 188 printable
ones of Latin-1 stand for themselves, the other 68 bytes, in order, are U+0100 ... U+0143. So " the" reads "\u0120the" and
"\\n" "\u010a".

References
----------
A. Radford et al., Language models are unsupervised multitask learners, 2019, and the encoder published with it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

NEVER = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])  # bytes that no UTF-8 has
_NO_BYTE = -1


@functools.cache
def characters() -> tuple[str, ...]:
    """The character of every byte, 256 of them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x144))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


@functools.cache
def _to_characters() -> dict[int, str]:
    return dict(enumerate(characters()))


@functools.cache
def _to_bytes() -> np.ndarray:
    """By code point its byte or _NO_BYTE, (N,) int16, up to the first behind the alphabet."""
    codes = np.array(list(map(ord, characters())))  # (256,)
    table = np.full(codes.max() + 2, _NO_BYTE, np.int16)
    table[codes] = np.arange(256)
    return table


def spelled(content: bytes) -> str:
    """Bytes as they stand in a vocabulary."""
    return content.decode("latin-1").translate(_to_characters())


def all_spelled(contents: Sequence[bytes]) -> list[str]:
    """`spelled` of each, in one go."""
    return _cut(spelled(b"".join(contents)), map(len, contents))


def all_unspelled(tokens: Sequence[str]) -> list[bytes | None]:
    """The bytes of tokens of a vocabulary; None for each that holds a character that stands for no byte."""
    table = _to_bytes()
    codes = np.frombuffer("".join(tokens).encode("utf-32-le", "surrogatepass"), "<u4")  # (N,)
    values = table[np.minimum(codes, len(table) - 1)]  # (N,)
    contents: list[bytes | None] = [*_cut(values.astype(np.uint8).tobytes(), map(len, tokens))]
    unknown = np.flatnonzero(values == _NO_BYTE)  # (U,)
    if unknown.size:
        stops = np.cumsum([len(token) for token in tokens])  # (V,)
        for index in np.unique(np.searchsorted(stops, unknown, side="right")).tolist():
            contents[index] = None
    return contents


def _cut(joined, lengths: Iterable[int]) -> list:
    """A str or bytes in parts of these lengths."""
    stops = list(itertools.accumulate(lengths, initial=0))
    return [joined[start:stop] for start, stop in itertools.pairwise(stops)]
