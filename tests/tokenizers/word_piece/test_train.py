from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilm.pages import wordpiece
from minilm.tokenizers import WordPiece
from minilm.tokenizers.word_piece.train import learn

from .helpers import SPECIAL, TEXTS


def test_by_hand():
    """low x 5, lot x 2, w x 1: the joins in their order, and what stops them."""
    tokenizer = WordPiece.train_from_chunks("low " * 5 + "lot lot w", vocab_size=100)
    singles = ["l", "o", "t", "w", "##o", "##t", "##w"]
    assert tokenizer.vocabulary == (*SPECIAL, *singles, "lo", "low", "lot")
    assert WordPiece.train_from_chunks("low " * 5 + "lot lot w", vocab_size=13).vocabulary[12:] == ("lo",)
    assert WordPiece.train_from_chunks("low " * 5 + "lot lot w", min_count=3).vocabulary[12:] == ("lo", "low")
    assert WordPiece.train_from_chunks("low " * 5 + "lot lot w", vocab_size=3).vocabulary[5:] == tuple(singles)


def test_ties_go_to_the_smaller_ids():
    assert WordPiece.train_from_chunks("ba ab", vocab_size=10, min_count=1).vocabulary[5:] == ("a", "b", "##a", "##b", "ab")
    other = WordPiece.train_from_chunks("ca cb", vocab_size=11, min_count=1, continuing=["b"])
    assert other.vocabulary[5:] == ("a", "b", "c", "##b", "##a", "cb")


def test_alphabet():
    tokenizer = WordPiece.train_from_chunks("aab abz abz y", limit_alphabet=2, min_count=9)
    assert tokenizer.vocabulary[5:] == ("a", "b", "##a", "##b")
    tied = WordPiece.train_from_chunks("z y x", limit_alphabet=2)
    assert tied.vocabulary[5:] == ("x", "y")


@given(st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(1, 9), min_size=1, max_size=6))
def test_like_the_oracle(counts):
    wanted = wordpiece.learn(Counter(counts), 16, 1, SPECIAL)
    assert learn(counts, 16, 1, None, SPECIAL, "##") == wanted


@given(TEXTS)
def test_chunks_do_not_show(text):
    text += " the dog"
    options = {"vocab_size": 60, "min_count": 1}
    whole = WordPiece.train_from_chunks(text, **options)
    assert WordPiece.train_from_chunks(list(text), **options) == whole
    known = [token for token in whole.vocabulary if not token.startswith("[")]
    assert known and whole.unk_token_id not in whole.encode("the dog")


def test_files_and_settings(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("Dog")
    tokenizer = WordPiece.train([tmp_path / "a", tmp_path / "b"], lower=False, min_count=1, max_word_chars=5)
    assert "Dog" in tokenizer.vocabulary and "DogDog" not in tokenizer.vocabulary
    assert not tokenizer.lower and tokenizer.max_word_chars == 5
    bare = WordPiece.train_from_chunks(
        "a b", special_tokens=["<unk>"], unk_token="<unk>", cls_token=None, sep_token=None, pad_token=None, mask_token=None
    )
    assert bare.vocabulary == ("<unk>", "a", "b")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="text: no words to train a tokenizer on"):
        WordPiece.train_from_chunks(" \n")
    with pytest.raises(ValueError, match="vocab_size must be at least 1, got 0"):
        WordPiece.train_from_chunks("a", vocab_size=0)
    with pytest.raises(ValueError, match="min_count must be at least 0, got -1"):
        WordPiece.train_from_chunks("a", min_count=-1)
    with pytest.raises(ValueError, match=r"'\[UNK\]' is not in the vocabulary"):
        WordPiece.train_from_chunks("a", special_tokens=["[PAD]"])
