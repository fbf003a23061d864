"""GPT-1's BPE: the definition, transformers' tokenizer, files, errors."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import GPT1BPE

from .helpers import MIXED, cut

LETTERS = "abcdehilnorstuwy'.,!?1漢東é\u0301"
MERGES = [
    ("t", "h"),
    ("th", "e</w>"),
    ("i", "n"),
    ("e", "r</w>"),
    ("in", "g</w>"),
    ("o", "th"),
    ("oth", "er</w>"),
    ("a", "a"),
    ("aa", "a</w>"),
    ("1", "1"),
]
WORDS = st.lists(
    st.sampled_from(
        ["the", "The", "other", "thing", "Naïve", "aaaa", "aaa", "don't", "<unk>", "漢字", " ", "\n", "11.1", "É!", "zq"]
    ),
    max_size=12,
).map(" ".join)


@functools.cache
def ours() -> GPT1BPE:
    """A vocabulary of our own."""
    characters = [*dict.fromkeys(LETTERS + "g")]
    tokens = ["<unk>", *characters, *(c + "</w>" for c in characters), *(left + right for left, right in MERGES)]
    return GPT1BPE(tokens, MERGES)


@functools.cache
def theirs():
    """transformers' tokenizer of the same vocabulary."""
    transformers = pytest.importorskip("transformers")
    vocabulary = {token: id for id, token in enumerate(ours().vocabulary)}
    return transformers.OpenAIGPTTokenizer(vocab=vocabulary, merges=list(MERGES))


def tokens(text):
    return [ours().id_to_token(id) for id in ours().encode(text)]


def test_words_are_merged_and_end():
    assert tokens("The  OTHER thing, é!") == ["the</w>", "other</w>", "th", "ing</w>", ",</w>", "e</w>", "!</w>"]
    assert tokens("aaaa aaa") == ["aa", "a", "a</w>", "aaa</w>"]
    assert tokens("zq e<unk>") == ["<unk>", "<unk>", "e</w>", "<unk>"]
    assert ours().decode(ours().encode("The OTHER-thing")) == "the other <unk>thing"
    assert ours().encode("").size == 0 and ours().decode([]) == "" and ours().unk_token_id == 0
    assert ours().decode(ours().encode("the <unk> the"), skip_special_tokens=True) == "the the"


@settings(max_examples=150)
@given(WORDS | MIXED | st.text(LETTERS + " Z", max_size=200))
def test_ids_offsets_and_text_are_the_peers(text):
    found = theirs()(text, return_offsets_mapping=True)
    ids, offsets = ours().encode_with_offsets(text)
    assert ids.tolist() == ours().encode(text).tolist() == found["input_ids"]
    assert list(map(tuple, offsets.tolist())) == found["offset_mapping"]
    assert ours().decode(ids) == theirs().decode(found["input_ids"])


@settings(max_examples=150)
@given(WORDS, st.lists(st.integers(0, 200), max_size=5))
def test_the_promises(text, places):
    tokenizer = ours()
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(np.concatenate([np.empty(0, np.int32), *tokenizer.encode_chunks(cut(text, places))]), ids)
    stream = tokenizer.decode_stream()
    assert "".join([stream.feed(id) for id in ids]) + stream.flush() == tokenizer.decode(ids)
    if tokenizer.unk_token_id not in ids:
        np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 1000, 70_000])
def test_long_words(n):
    for word in ("a" * n, ("othering" * n)[:n]):
        ids = ours().encode(f"the {word} the")
        assert ours().decode(ids) == f"the {word} the"
        if n <= 1000:
            assert ids.tolist() == theirs()(f"the {word} the")["input_ids"]


def test_files(tmp_path):
    ours().save(tmp_path / "one.json")
    ours().save_pretrained(tmp_path / "folder")
    for path in (tmp_path / "one.json", tmp_path / "folder"):
        for load in (tokenizers.load, GPT1BPE.load):
            loaded = load(path)
            assert type(loaded) is GPT1BPE and loaded == ours()
    (tmp_path / "folder" / "tokenizer.json").unlink()
    assert tokenizers.load(tmp_path / "folder") == GPT1BPE.from_pretrained(tmp_path / "folder") == ours()
    peer = pytest.importorskip("tokenizers")
    read = peer.Tokenizer.from_file(str(tmp_path / "one.json"))
    text = "The other thing, é! zq <unk> 漢字"
    assert read.encode(text).ids == ours().encode(text).tolist()


def test_errors():
    with pytest.raises(ValueError, match="special token '<unk>' is not in the vocabulary"):
        GPT1BPE(["a"], [])
    with pytest.raises(ValueError, match="merge 0, 'a' and 'b'"):
        GPT1BPE(["<unk>", "a", "b"], [("a", "b")])
    with pytest.raises(ValueError, match="^character 1: lone surrogate"):
        ours().encode("a\ud800")
    with pytest.raises(ValueError, match="^character 1: lone surrogate"):
        ours().encode_with_offsets("a\ud800")
    with pytest.raises(NotImplementedError, match="train a ByteLevelBPE"):
        GPT1BPE.train_from_chunks("a")
