"""The tokenizers' pages give what the compiled kernels give: pieces, vocabularies, merges, ids and texts."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from minilm.pages import bpe, wordpiece
from minilm.tokenizers import ByteLevelBPE, WordPiece

TEXT = (
    "The king's men, they're not here; I'll say that we've done what he'd 'tis 1999 2026.\n\n\tO naïve façade! "
    "Übermäßig schöne Straßen, наука и жизнь, 東京は日本の首都です。 😀😀 \r\n\r\n   x = f(y)  \n the lower lowest low"
)
MORE = [" ", "  ", "\n", "'ll", "don't", "unaffable", "Ünaffable", "é", "e\u0301", "12", "東京", "\x00", "\ufffd"]
FRAGMENTS = st.lists(st.sampled_from([*TEXT.split(" "), *MORE]), max_size=20).map("".join)


def test_bpe_learns_what_the_kernel_learns():
    vocabulary, merges = bpe.learn(Counter(bpe.pieces(TEXT * 3)), 330)
    trained = ByteLevelBPE.train_from_chunks(TEXT * 3, vocab_size=330)
    assert tuple(vocabulary) == trained.vocabulary
    assert [tuple(pair) for pair in trained.merges] == merges


VOCABULARY, MERGES = bpe.learn(Counter(bpe.pieces(TEXT * 3)), 330)
KERNEL = ByteLevelBPE(VOCABULARY, MERGES)


@given(FRAGMENTS)
def test_bpe_encodes_and_decodes(text):
    ids = bpe.encode(text, VOCABULARY, MERGES)
    assert ids == KERNEL.encode(text).tolist()
    assert bpe.decode(ids, VOCABULARY) == KERNEL.decode(ids) == text
    cut = ids[: len(ids) // 2]  # perhaps in the middle of a character
    assert bpe.decode(cut, VOCABULARY) == KERNEL.decode(cut)


def test_wordpiece_learns_what_the_kernel_learns():
    counts = Counter(wordpiece.words(TEXT * 3))
    assert tuple(wordpiece.learn(counts, 150)) == WordPiece.train_from_chunks(TEXT * 3, vocab_size=150).vocabulary


PIECES = wordpiece.learn(Counter(wordpiece.words(TEXT * 3)), 150)


@given(FRAGMENTS)
def test_wordpiece_cuts_and_encodes(text):
    kernel = WordPiece(PIECES)
    assert wordpiece.words(text) == kernel.basic_tokens(text)
    assert wordpiece.encode(text, PIECES) == kernel.encode(text).tolist()


def test_wordpiece_longest_word():
    kernel = WordPiece(PIECES)
    for length in (99, 100, 101):
        word = "".join(random.Random(length).choices("elow", k=length))
        assert wordpiece.encode(word, PIECES) == kernel.encode(word).tolist()
