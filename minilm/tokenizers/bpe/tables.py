"""What encoding reads of a vocabulary: its cut of texts, its merges, its tokens by their bytes, and the ids of characters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.tokenizers.bpe.byte_merging import ByteMerges, make_byte_merges
from minilm.tokenizers.bpe.characters import make_characters
from minilm.tokenizers.bpe.joins import cutter_of
from minilm.tokenizers.bpe.pieces import Cutter
from minilm.tokenizers.bpe.words import WORD_BYTES, Words, make_words


class Tables(NamedTuple):
    """What all threads read."""

    cutter: Cutter
    parts: int  # 1 if pieces may be cut within, where no token joins their characters
    bytes: ByteMerges
    words: Words
    characters: np.ndarray  # (65536, 4) int32, see `characters`


def make_tables(
    expressions: tuple[str, ...], byte_ids: np.ndarray, merges: np.ndarray, tokens: list[bytes], whole: bool = False
) -> Tables:
    """Tables for a vocabulary.

    Parameters
    ----------
    expressions : tuple of str
        The pattern, see `patterns.of`.
    byte_ids : (256,) int32
        -1 for a byte that no text has.
    merges : (M, 3) int32
        Left id, right id and the id of both together.
    tokens : list of V bytes
        Empty for what no text encodes to.
    whole : bool
        Whether a piece that is a token is that token, even if its bytes do not merge to it.

    Raises
    ------
    ValueError
        With `whole`, a token of more than WORD_BYTES bytes is one that merges do not give.
    """
    table = make_byte_merges(byte_ids, merges)
    words, unmerged = make_words(table, tokens, whole)
    if whole and unmerged >= 0 and len(tokens[unmerged]) > WORD_BYTES:
        raise ValueError(
            f"ignore_merges with a token of over {WORD_BYTES} bytes that no merges give, {tokens[unmerged]!r}, is not supported"
        )
    parts = int(not whole or unmerged < 0)
    characters = make_characters(table, words, merges, tokens)
    return Tables(cutter_of(expressions, tokens), parts, table, words, characters)
