import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minilm.tokenizers import WordPiece
from minilm.tokenizers.added import AddedToken
from minilm.tokenizers.word_piece import basic as module
from minilm.tokenizers.word_piece import encoding

from ..test_word_level import PLACES, cut
from .helpers import TEXTS, VOCABULARY

LOWER = WordPiece(VOCABULARY)
CASED = WordPiece(VOCABULARY, lower=False)


def tokens(tokenizer, text):
    return [tokenizer.id_to_token(id) for id in tokenizer.encode(text)]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("unaffablex the", ["[UNK]", "the"]),  # one piece fails, so the word is unknown, not the piece
        ("The café CAFE\u0301s", ["the", "cafe", "cafe", "##s"]),
        ("don't (un)", ["don", "'", "t", "(", "un", ")"]),
        ("可能カカ カ", ["可", "能", "[UNK]", "カ"]),  # ideographs stand alone; kana do not
        ("\u30ab\u3099 ガ", ["カ", "カ"]),  # the sound mark is an accent
        ("ΣΑΣ", ["[UNK]"]),
        ("거", ["\u1100", "##\u1165"]),  # NFD parts a syllable
        ("a\x00b\u200bs\ufffd the\x0cdog", ["a", "##b", "##s", "[UNK]"]),  # controls go, a form feed too
        ("a\u2003b\u3000a\xa0b", ["a", "b", "a", "b"]),
        ("$^a`", ["$", "^", "a", "`"]),
        ("a[MASK]b [mask] [UNK]", ["a", "[MASK]", "b", "[", "[UNK]", "]", "[UNK]"]),
        ("a" * 100, ["a"] + ["##a"] * 99),
        ("a" * 101 + " a", ["[UNK]", "a"]),
        ("\u0301 \u0327", []),
        ("", []),
    ],
)
def test_tokens(text, wanted):
    assert tokens(LOWER, text) == wanted


@settings(max_examples=150)
@given(TEXTS)
def test_short_texts_are_encoded_as_long_ones(text):
    """In one compiled call or in several: the same ids, whatever was encoded before, and where a page of characters is new."""
    long = " " * encoding.SHORT_TEXT + text
    for tokenizer in (LOWER, WordPiece(VOCABULARY)):
        ids = tokenizer.encode(text).tolist()
        assert ids == tokenizer.encode(long).tolist() == tokenizer.encode(text).tolist()


def test_short_texts_that_need_room_or_a_token():
    """Characters that become many, the longest short text, tokens that the text spells, and ids that later calls leave alone."""
    for text in ("\ufdfa" * encoding.SHORT_TEXT, "a" * encoding.SHORT_TEXT, "a [MASK] b", "[ MASK]", "ΐ" * 400):
        assert LOWER.encode(text).tolist() == LOWER.encode_with_offsets(text)[0].tolist()
    first = LOWER.encode("the dog")
    kept = first.tolist()
    LOWER.encode("un a b")
    assert first.tolist() == kept


def test_cased():
    assert tokens(CASED, "The the café\u0301") == ["The", "the", "[UNK]"]
    assert tokens(WordPiece(VOCABULARY, lower=False, strip_accents=True), "The É café") == ["The", "[UNK]", "cafe"]
    assert tokens(WordPiece(VOCABULARY, strip_accents=False), "É é e") == ["é", "é", "e"]
    assert tokens(WordPiece(VOCABULARY, split_cjk=False), "可能 可") == ["[UNK]", "可"]
    assert tokens(WordPiece(VOCABULARY, clean_text=False), "a\x00 a\x0ca") == ["[UNK]", "a", "a"]
    assert tokens(WordPiece(VOCABULARY, max_word_chars=3), "aaa aaaa") == ["a", "##a", "##a", "[UNK]"]


def test_basic_tokens():
    assert LOWER.basic_tokens(" Häuser,\n可能 \u0130!") == ["hauser", ",", "可", "能", "i", "!"]
    assert CASED.basic_tokens("İ É") == ["İ", "É"]
    assert WordPiece(VOCABULARY, strip_accents=False).basic_tokens("İ") == ["i\u0307"]
    assert LOWER.basic_tokens(" \x00") == []


def test_canonical_order():
    """U+1D16D has a higher combining class than U+1D165, so NFD puts it behind."""
    assert LOWER.basic_tokens("a\U0001d16d\U0001d165") == LOWER.basic_tokens("a\U0001d165\U0001d16d")
    assert LOWER.basic_tokens("a\U0001d165\U0001d16d") == ["a\U0001d165\U0001d16d"]
    assert CASED.basic_tokens("a\U0001d16d\U0001d165") == ["a\U0001d16d\U0001d165"]  # no decomposition, no order


def test_offsets():
    text = " Unaffable [MASK] Cafe\u0301s,\x00 거可"
    ids, offsets = LOWER.encode_with_offsets(text)
    np.testing.assert_array_equal(ids, LOWER.encode(text))
    assert ids.dtype == np.int32 and offsets.shape == (ids.size, 2)
    spelled = [text[begin:end] for begin, end in offsets]
    assert spelled == ["Un", "aff", "able", "[MASK]", "Cafe", "s", ",", "거", "거", "可"]


@settings(max_examples=100)
@given(TEXTS, PLACES)
@example("do not don't", [3])
def test_promises(text, places):
    for tokenizer in (LOWER, CASED):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32
        pieces = list(tokenizer.encode_chunks(cut(text, places)))
        np.testing.assert_array_equal(np.concatenate([np.empty(0, np.int32), *pieces]), ids)
        stream, edges = tokenizer.decode_stream(), [0, *sorted(place % (ids.size + 1) for place in places), ids.size]
        fed = [stream.feed(ids[start:stop]) for start, stop in zip(edges, edges[1:], strict=False)]
        assert "".join(fed) + stream.flush() == tokenizer.decode(ids)
        known = ids[ids != tokenizer.unk_token_id]
        np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(known)), known)
        for id, (begin, end) in zip(*tokenizer.encode_with_offsets(text), strict=True):
            assert 0 <= begin < end <= len(text) and id < tokenizer.vocab_size


@given(TEXTS, st.integers(1, 6))
def test_blocks_do_not_show(text, block):
    """The kernels work on blocks of a text; wherever they are cut, the tokens and their places are the same."""
    tokenizer = WordPiece(VOCABULARY)
    wanted = tokenizer._places(text)
    before, module.BLOCK = module.BLOCK, block
    try:
        found = tokenizer._places(text)
    finally:
        module.BLOCK = before
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("unit", ["a", "\u0301", "\u1b44", "\U0001d16d\U0001d165", "可", " ", "!", "거", "[", "[MASK]", "\u0390"])
def test_long_runs(unit):
    """Longer than any buffer that is made at first."""
    text = unit * 200_000
    ids = LOWER.encode(text)
    wanted = {"\u0301": 0, " ": 0, "可": 200_000, "!": 200_000, "[": 200_000, "[MASK]": 200_000}
    assert ids.size == wanted.get(unit, 1)


def test_decode():
    ids = [LOWER.token_to_id(token) for token in ["[CLS]", "the", "dog", "##s", ",", "un", "##able", "!", "[SEP]"]]
    assert LOWER.decode(ids) == "[CLS] the dogs, unable! [SEP]"
    assert LOWER.decode(ids, skip_special_tokens=True) == "the dogs, unable!"
    assert WordPiece(VOCABULARY, clean_up=False).decode(ids[1:8]) == "the dogs , unable !"
    assert LOWER.decode([LOWER.token_to_id("##s")]) == "##s"
    assert LOWER.decode([]) == ""
    stream = LOWER.decode_stream()
    assert [stream.feed(id) for id in ids[1:4]] == ["the", " dog", "s"]


def test_ids_by_name():
    assert [getattr(LOWER, f"{role}_token_id") for role in ("pad", "unk", "cls", "sep", "mask")] == [0, 1, 2, 3, 4]
    assert LOWER.special_tokens == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    bare = WordPiece(["?", "a"], unk_token="?", cls_token=None, sep_token=None, pad_token=None, mask_token=None)
    assert bare.cls_token_id is bare.sep_token_id is bare.pad_token_id is bare.mask_token_id is None
    longest = WordPiece([*VOCABULARY, "<x>", "<x><y>"], special_tokens=["<x>", "<x><y>"])
    assert tokens(longest, "<x><y><x>") == ["<x><y>", "<x>"]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"'\[MASK\]' is not in the vocabulary of 4 tokens \(give mask_token=None"):
        WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    with pytest.raises(ValueError, match="'<par>' is not in the vocabulary"):
        WordPiece(VOCABULARY, special_tokens=["<par>"])
    with pytest.raises(ValueError, match="'a' is twice"):
        WordPiece([*VOCABULARY, "a"])
    with pytest.raises(ValueError, match="unk_token must be a token"):
        WordPiece(VOCABULARY, unk_token=None)
    with pytest.raises(ValueError, match="special tokens must be non-empty str, got ''"):
        WordPiece([*VOCABULARY, ""], special_tokens=[""])
    with pytest.raises(ValueError, match="max_word_chars must be at least 1, got 0"):
        WordPiece(VOCABULARY, max_word_chars=0)
    with pytest.raises(TypeError, match="vocabulary must hold str, got 3"):
        WordPiece([*VOCABULARY, 3])
    with pytest.raises(ValueError, match=r"character 2: lone surrogate U\+D800"):
        LOWER.encode("a \ud800")
    with pytest.raises(ValueError, match=r"character 8: lone surrogate U\+D800"):
        LOWER.encode_with_offsets("[MASK]a \ud800")
    for method in (LOWER.encode, LOWER.encode_with_offsets, LOWER.basic_tokens):
        with pytest.raises(TypeError, match="text must be a str, got bytes"):
            method(b"a")


@pytest.mark.parametrize("options", [{}, {"lower": False, "strip_accents": True}, {"clean_text": False}, {"max_word_chars": 4}])
@given(texts=st.lists(TEXTS, max_size=6))
@settings(max_examples=60)
def test_a_batch_is_each_text_by_itself(options, texts):
    tokenizer = WordPiece(VOCABULARY, **options)
    for array, text in zip(tokenizer.encode_batch(iter(texts)), texts, strict=True):
        np.testing.assert_array_equal(array, tokenizer.encode(text))


def test_batches_in_groups_and_tokens_that_take_in_white_space(monkeypatch):
    texts = ["the dog", "", "a[MASK]", "\n", "é un", "[MASK]"] * 3
    wanted = [LOWER.encode(text).tolist() for text in texts]
    monkeypatch.setattr(encoding, "TOGETHER", 10)
    assert [array.tolist() for array in LOWER.encode_batch(texts)] == wanted
    greedy = WordPiece([*VOCABULARY, "<x>"], added_tokens=[AddedToken("<x>", rstrip=True), AddedToken("[MASK]", lstrip=True)])
    texts = ["a<x>", "\nthe", "a", "[MASK]"]
    assert [array.tolist() for array in greedy.encode_batch(texts)] == [greedy.encode(text).tolist() for text in texts]
    with pytest.raises(ValueError, match="character 1: lone surrogate"):
        LOWER.encode_batch(["the dog", "a\ud800"])
    with pytest.raises(TypeError, match="text must be a str, got int"):
        LOWER.encode_batch(["the dog", 3])
