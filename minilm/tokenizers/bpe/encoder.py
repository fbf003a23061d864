"""Encodes stretches of text for `ByteLevelBPE`: the tables, made at the first use, and what each thread writes to."""

from __future__ import annotations

import functools

import numpy as np

from minilm.tokenizers.bpe import alphabet, nfc, patterns
from minilm.tokenizers.cuts import safe_cut

NFC = "NFC"
NORMALIZERS = (None, NFC)
_COMPOSES = 0x300  # no character below joins one before it


class Encoder:
    """Texts to ids, by merges, without added tokens.

    Parameters
    ----------
    expressions : tuple of str
        The pattern, see `patterns.of`.
    normalizer : str or None
        One of NORMALIZERS.
    ids : dict
        From tokens in the byte alphabet to their ids.
    merges : (M, 3) int32
        Left id, right id and the id of both together.
    contents : list of V bytes
        What the ids stand for; empty for those that only added tokens have.
    whole : bool
        Whether a piece that is a token is that token, whatever the merges give.
    """

    def __init__(self, expressions, normalizer, ids, merges, contents, whole: bool):
        self.expressions, self.normalizer, self.whole = expressions, normalizer, whole
        self.merges, self.contents = merges, contents
        self.byte_ids = np.array([ids.get(character, -1) for character in alphabet.characters()], np.int32)  # (256,)
        self.states: list = []  # of threads that are not encoding now

    @functools.cached_property
    def tables(self):
        """What all threads read."""
        from minilm.tokenizers.bpe import table_files

        return table_files.tables_of(self.expressions, self.byte_ids, self.merges, self.contents, self.whole)

    @functools.cached_property
    def loops(self):
        """The compiled loops, with these tables."""
        from minilm.tokenizers.bpe import encoding  # not above: it compiles

        return encoding.Loops(self.tables, self.states)

    def normalized(self, text: str) -> str:
        """The text as it is encoded."""
        return text if self.normalizer is None else nfc.normalized(text)

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text, (T,) int32; UnicodeEncodeError for a lone surrogate."""
        loops = self.loops
        if len(text) <= loops.short_text and (self.normalizer is None or text.isascii()):
            return loops.encode_short(text.encode("utf-8"))
        from minilm.tokenizers.bpe import nfc_scan, pieces

        content, size = pieces.padded(text)  # (N + PADDING,)
        if self.normalizer and not (text.isascii() or nfc_scan.is_normal(content, size)):
            normal = nfc.normalized(text)
            content, size = (content, size) if normal is text else pieces.padded(normal)
        return loops.encode(content, size)

    def safe_cut(self, text: str, added) -> int:
        """Where a text may be cut so that both parts have the ids of the whole, see `minilm.tokenizers.cuts`."""
        return safe_cut(text, self._between, added.touched, added.margin)

    def _between(self, codes: np.ndarray) -> np.ndarray:
        from minilm.tokenizers.bpe.cuts import between_pieces

        possible = between_pieces(self.expressions, codes)  # (N - 1,)
        return possible & (codes[1:] < _COMPOSES) if self.normalizer else possible

    def __getstate__(self):  # what is compiled, tables and what threads write to do not travel to another process
        local = {"tables", "loops", "states"}
        return {name: value for name, value in self.__dict__.items() if name not in local} | {"states": []}


def checked(pattern, normalizer) -> tuple[str, ...]:
    """The expressions of a pattern; ValueError if it or the normalizer is none."""
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be {' or '.join(map(repr, NORMALIZERS))}, got {normalizer!r}")
    return patterns.of(pattern)
