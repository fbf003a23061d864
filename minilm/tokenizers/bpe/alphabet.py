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

NEVER = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])  # bytes that no UTF-8 has


@functools.cache
def characters() -> tuple[str, ...]:
    """The character of every byte, 256 of them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x144))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


@functools.cache
def _to_bytes() -> dict[int, int]:
    return {ord(character): byte for byte, character in enumerate(characters())}


@functools.cache
def _to_characters() -> dict[int, str]:
    return dict(enumerate(characters()))


def spelled(content: bytes) -> str:
    """Bytes as they stand in a vocabulary."""
    return content.decode("latin-1").translate(_to_characters())


def unspelled(token: str) -> bytes | None:
    """The bytes of a token of a vocabulary; None if it holds a character that stands for no byte."""
    table = _to_bytes()
    return bytes(map(table.__getitem__, map(ord, token))) if all(ord(c) in table for c in token) else None
