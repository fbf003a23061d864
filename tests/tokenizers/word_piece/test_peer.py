"""Agreement with Hugging Face: `tokenizers` reads what we write, BertTokenizerFast and we encode alike, its trainer and ours."""

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import WordPiece

from .helpers import CHARACTERS, FRAGMENTS, SPECIAL, TEXTS, VOCABULARY, trained_folder

peer = pytest.importorskip("tokenizers", reason="Hugging Face's tokenizers is not installed")

SETTINGS = [{}, {"lower": False}, {"strip_accents": False}, {"lower": False, "strip_accents": True}, {"split_cjk": False}]
SETTINGS += [{"clean_text": False}, {"max_word_chars": 4, "clean_up": False}]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def both(request):
    ours = WordPiece(VOCABULARY, **request.param)
    return ours, peer.Tokenizer.from_str(ours.to_json())


@pytest.fixture(scope="module")
def trained():
    folder = trained_folder()
    theirs = peer.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    return tokenizers.load(folder), theirs


def reordered(text: str) -> bool:
    """Whether NFD moves a mark that is no accent: then the two may differ in where in a word a token begins or ends."""
    text = "".join(each for each in text if unicodedata.category(each)[0] != "C")  # which cleaning may remove first
    decomposed = unicodedata.normalize("NFD", text)
    return decomposed != "".join(unicodedata.normalize("NFD", each) for each in text)


def compare(ours, theirs, text):
    wanted = theirs.encode(text, add_special_tokens=False)
    ids, offsets, words = ours._places(text)
    assert ids.tolist() == wanted.ids == ours.encode(text).tolist()
    assert words.tolist() == wanted.word_ids
    if not reordered(text):
        assert offsets.tolist() == [list(each) for each in wanted.offsets]
    assert ours.decode(ids) == theirs.decode(wanted.ids, skip_special_tokens=False)
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(wanted.ids, skip_special_tokens=True)


@pytest.mark.parametrize("text", FRAGMENTS)
def test_fragments(both, text):
    compare(*both, text)
    compare(*both, f"The{text}a {text} dog")


@given(TEXTS)
def test_any_text(both, text):
    compare(*both, text)


def test_every_character():
    """All of Unicode, once each, apart from capitals that are newer than this Python: unknown words to any vocabulary so far."""
    newer = {code for code in range(0x110000) if unicodedata.category(chr(code)) == "Cn"}
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code not in newer]
    ours = WordPiece(SPECIAL)
    theirs = peer.Tokenizer.from_str(ours.to_json())
    for start in range(0, len(codes), 50_000):
        text = "".join(f"a{chr(code)}b " for code in codes[start : start + 50_000])
        normal = theirs.normalizer.normalize_str(text)
        wanted = [word for word, _ in theirs.pre_tokenizer.pre_tokenize_str(normal)]
        assert ours.basic_tokens(text) == wanted


@given(ids=st.lists(st.integers(0, len(VOCABULARY) - 1), max_size=20))
def test_decoding_any_ids(both, ids):
    ours, theirs = both
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


@settings(max_examples=2000)
@given(TEXTS | st.text(CHARACTERS, max_size=60))
def test_trained_encoder_on_two_thousand_texts(trained, text):
    compare(*trained, text)


def test_trained_encoder_on_real_text(trained):
    folder = os.environ.get("MINILM_TEST_CORPORA")
    if not folder:
        pytest.skip("MINILM_TEST_CORPORA names no folder with the public texts")
    with open(os.path.join(folder, "tinyshakespeare.txt"), encoding="utf-8") as file:
        compare(*trained, file.read())


PAIRS = [
    ("The dogs, unaffable!", "café"),
    ("a b a b a", "the dog"),
    ("dog", "a b a b a b"),
    ("a b a b", "b a b a"),
    ("", "a"),
    ("", ""),
]


@pytest.mark.parametrize("max_length", [3, 4, 5, 6, 7, 8, 9, 20])
def test_sequences(tmp_path, max_length):
    """Against BertTokenizerFast, at every length from the special tokens alone to all there is."""
    transformers = pytest.importorskip("transformers")
    ours = WordPiece(VOCABULARY)
    ours.save_pretrained(tmp_path)
    theirs = transformers.BertTokenizerFast.from_pretrained(str(tmp_path))
    texts, pairs = map(list, zip(*PAIRS, strict=True))
    for second in (None, pairs):
        given = (texts,) if second is None else (texts, second)
        for padding in ("longest", "max_length"):
            wanted = theirs(
                *given, truncation="longest_first", max_length=max_length, padding=padding, return_offsets_mapping=True
            )
            made = ours.encode_pairs(*given, max_length=max_length, padding=padding)
            for name in ("input_ids", "token_type_ids", "attention_mask"):
                np.testing.assert_array_equal(getattr(made, name), wanted[name])
            np.testing.assert_array_equal(made.offsets, wanted["offset_mapping"])
            for row in range(len(texts)):
                for name in ("word_ids", "sequence_ids"):
                    expected = [-1 if each is None else each for each in getattr(wanted, name)(row)]
                    assert getattr(made, name)[row].tolist() == expected
    words = [["unaffable", "don't", "the"], ["a", "", "b"]]
    wanted = theirs(words, is_split_into_words=True, padding=True, truncation=True, max_length=max_length)
    made = ours.encode_pairs(words, max_length=max_length)
    np.testing.assert_array_equal(made.input_ids, wanted["input_ids"])
    for row in range(2):
        assert made.word_ids[row].tolist() == [-1 if each is None else each for each in wanted.word_ids(row)]


def test_transformers_reads_the_vocabulary(tmp_path):
    transformers = pytest.importorskip("transformers")
    WordPiece(VOCABULARY).save_vocabulary(tmp_path)
    theirs = transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt"))
    assert theirs("The café")["input_ids"] == WordPiece(VOCABULARY).encode_pair("The café").input_ids.tolist()


def their_vocabulary(texts, **options):
    trainers, models = peer.trainers, peer.models
    tokenizer = peer.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = peer.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = peer.pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=SPECIAL, show_progress=False, **options))
    return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]


def compare_training(text, size, least):
    """Same vocabulary once the order of the characters inside words, which the peer leaves to chance, is the same."""
    theirs = their_vocabulary(text.splitlines(), vocab_size=size, min_frequency=least)
    continuing = [token[2:] for token in theirs if token.startswith("##") and len(token) == 3]
    options = {"vocab_size": size, "min_count": least, "limit_alphabet": None, "continuing": continuing}
    assert list(WordPiece.train_from_chunks(text, **options).vocabulary) == theirs


@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=30), st.integers(10, 60), st.integers(0, 3))
def test_training(words, size, least):
    compare_training(" ".join(words), size, least)


@pytest.mark.parametrize("size", [500, 8000])
def test_training_on_real_text(size):
    from minilm import data

    compare_training("".join(data.text("stories")), size, 2)
