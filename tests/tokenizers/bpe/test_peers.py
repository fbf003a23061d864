"""tiktoken and Hugging Face's tokenizers give the same ids and offsets."""

import os

import numpy as np
import pytest
from hypothesis import given, settings

from minilm.tokenizers.bpe import unicode16

from .helpers import ANY, MIXED, gpt2, hugging_face_of, small, tiktoken_of

TOKENIZERS = [pytest.param(small, id="small"), pytest.param(gpt2, id="gpt2")]


def agree(tokenizer, text):
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids.tolist() == tokenizer.encode(text).tolist() == tiktoken_of(tokenizer)(text)
    theirs = hugging_face_of(tokenizer).encode(text)
    assert ids.tolist() == theirs.ids
    assert offsets.shape == (ids.size, 2) and list(map(tuple, offsets.tolist())) == theirs.offsets
    assert tokenizer.decode(ids) == text == hugging_face_of(tokenizer).decode(ids.tolist(), skip_special_tokens=False)


@pytest.mark.parametrize("make", TOKENIZERS)
@settings(max_examples=150)
@given(text=MIXED)
def test_strings_of_all_planes(make, text):
    agree(make(), text)


@pytest.mark.slow
@pytest.mark.parametrize("make", TOKENIZERS)
@settings(max_examples=2000)
@given(text=ANY | MIXED)
def test_two_thousand_strings_of_all_planes(make, text):
    agree(make(), text)


def test_every_character_has_the_class_that_the_peers_give_it():
    """Behind a letter, a digit and a full stop: one piece, or two."""
    peer = pytest.importorskip("tokenizers").pre_tokenizers.ByteLevel(add_prefix_space=False)
    codes = np.array([code for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    # One text of all characters, each behind and before an "a": a letter joins both, everything else stands between.
    text = "a".join(map(chr, codes[codes > 0x7F]))
    found = {len(piece) for piece, _ in peer.pre_tokenize_str("a\xe9a")}
    assert found == {4}  # of the byte alphabet's characters
    starts = {start for _, (start, _) in peer.pre_tokenize_str(text)}
    categories = np.array(unicode16.CATEGORIES)[unicode16.categories()]  # (0x110000,)
    wrong = []
    for index, code in enumerate(codes[codes > 0x7F].tolist()):
        place = 2 * index
        if (place in starts) == (categories[code][0] == "L") and index > 0:
            wrong.append(hex(code))
    assert not wrong
    digits = "1".join(map(chr, codes[codes > 0x7F]))
    starts = {start for _, (start, _) in peer.pre_tokenize_str(digits)}
    wrong = [
        hex(code)
        for index, code in enumerate(codes[codes > 0x7F].tolist())
        if index > 0 and (2 * index in starts) == (categories[code][0] == "N")
    ]
    assert not wrong


def test_all_of_tinyshakespeare():
    folder = os.environ.get("MINILM_TEST_CORPORA")
    if not folder:
        pytest.skip("MINILM_TEST_CORPORA does not name a folder with tinyshakespeare.txt")
    with open(os.path.join(folder, "tinyshakespeare.txt"), encoding="utf-8", newline="") as file:
        text = file.read()
    ids = gpt2().encode(text)
    assert ids.size == 338_025
    assert ids.tolist() == tiktoken_of(gpt2())(text)
    assert ids.tolist() == hugging_face_of(gpt2()).encode(text).ids
    assert gpt2().decode(ids) == text


@pytest.mark.parametrize("make", TOKENIZERS)
def test_long_runs(make):
    for unit in ("a", " ", "7", "😀", "漢字", "ab", "\n", " \n", "'s", "e\u0301"):
        for n in (1, 15, 16, 17, 64, 65, 127, 129, 1000):
            text = unit * n
            assert make().encode(text).tolist() == tiktoken_of(make())(text)
