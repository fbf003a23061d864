"""Vocabularies, texts and peers that the tests share."""

import functools
import os
from collections import Counter

import pytest
from hypothesis import strategies as st

from minilm.pages import bpe as oracle
from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import unicode16

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEXT = (
    "The king's men, they're not here; I'll say that we've done what he'd 'tis 1999 2026.\n\n\tO naïve façade! "
    "Übermäßig schöne Straßen, наука и жизнь, 東京は日本の首都です。 😀😀👍🏽 \u200d ½ ٣٤ \r\n\r\n   x = f(y)  \n"
) * 3
SPACES = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)))
NO_SPACES = "\x1c\x1d\x1e\x1f\u180e\u200b\u2060\ufeff"  # white space to Python's str.isspace or to nobody
# All planes; letters, numbers, marks and all white space often, so that they meet; contractions, whole and broken off.
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MIXED = st.lists(
    st.one_of(
        st.sampled_from(
            [*SPACES, *NO_SPACES, *"aZ'sx1,.½Ⅷ٣é漢😀\u0301\0", "'ll", "'re", "'S", " the", "  ", "don't", "<|endoftext|>"]
        ),
        st.sampled_from("\ud7ff\ue000\uffff\U0001ffff\U0003134a\U00100000\U0010ffff"),
        ANY,
    ),
    max_size=30,
).map("".join)


def kind(character):
    """A character's kind by the table of the patterns, whose version of Unicode is not this Python's."""
    if ord(character) in unicode16.SPACES:
        return "space"
    return {"L": "letter", "N": "number"}.get(unicode16.CATEGORIES[unicode16.categories()[ord(character)]][0], "other")


def pieces_of(text):
    """The oracle's pieces."""
    return oracle.pieces(text, kind)


def merged(tokenizer, piece):
    """The oracle's ids of a piece."""
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    return [tokenizer.token_to_id(symbol) for symbol in oracle.merged(piece, ranks)]


def learnt(text, size, least, special=("<|endoftext|>",)):
    """The oracle's vocabulary and merges."""
    return oracle.learn(Counter(pieces_of(text)), size, least, special)


@functools.cache
def small() -> ByteLevelBPE:
    """A vocabulary of our own, 256 bytes, one special token and some 140 merges."""
    return ByteLevelBPE(*learnt(TEXT, 400, 2))


def gpt2_folder() -> str:
    """The folder of GPT-2's vocabulary; the test is skipped where there is none."""
    folder = os.environ.get("MINILM_TEST_GPT2")
    if not folder:
        pytest.skip("MINILM_TEST_GPT2 does not name a folder with GPT-2's encoder.json and vocab.bpe")
    return folder


@functools.cache
def _gpt2(folder):
    return ByteLevelBPE.from_pretrained(folder)


def gpt2() -> ByteLevelBPE:
    """GPT-2's tokenizer."""
    return _gpt2(gpt2_folder())


@functools.cache
def tiktoken_of(tokenizer: ByteLevelBPE):
    """The same vocabulary in tiktoken, whose ranks are the ids: so bytes and merges are renumbered; with the way back."""
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {tokenizer.decode_bytes([tokenizer.token_to_id(c)]): None for c in tokenizer.vocabulary if len(c) == 1}
    for left, right in tokenizer.merges:
        ranks[tokenizer.decode_bytes([tokenizer.token_to_id(left + right)])] = None
    ranks = {content: rank for rank, content in enumerate(ranks)}
    ids = {tokenizer.decode_bytes([id]): id for id in range(tokenizer.vocab_size)}
    back = {rank: ids[content] for content, rank in ranks.items()}
    special = {token: len(ranks) + index for index, token in enumerate(tokenizer.special_tokens)}
    back |= {special[token]: tokenizer.token_to_id(token) for token in special}
    encoding = tiktoken.Encoding("test", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    return lambda text: [back[rank] for rank in encoding.encode(text, allowed_special="all")]


@functools.cache
def hugging_face_of(tokenizer):
    """The same tokenizer in Hugging Face's library, by way of its file."""
    peer = pytest.importorskip("tokenizers")
    return peer.Tokenizer.from_str(tokenizer.to_json())


def cut(text, places):
    """A text cut at places."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]
