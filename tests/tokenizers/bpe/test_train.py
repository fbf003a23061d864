"""Training: the definition, Hugging Face's trainer, and what goes wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import merge_state, training

from .helpers import TEXT, cut, learnt

FEW = (
    st.text("ab c'd\n", min_size=1, max_size=200)
    | st.text("aé漢 1", min_size=1, max_size=100)
    | st.text("ab", min_size=1, max_size=80)
)


def theirs(texts, size, least, special=("<|endoftext|>",)):
    """Vocabulary and merges of Hugging Face's trainer."""
    peer = pytest.importorskip("tokenizers")
    tokenizer = peer.Tokenizer(peer.models.BPE())
    tokenizer.pre_tokenizer = peer.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = peer.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=least,
        special_tokens=list(special),
        initial_alphabet=peer.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), [tuple(merge) for merge in model["merges"]]


@settings(max_examples=100)
@given(FEW, st.integers(257, 290), st.integers(0, 4))
def test_merges_are_the_definition(text, size, least):
    tokenizer = ByteLevelBPE.train_from_chunks(text, vocab_size=size, min_frequency=least)
    vocabulary, merges = learnt(text, size, least)
    assert list(tokenizer.merges[: len(merges)]) == merges
    assert list(tokenizer.vocabulary[: len(vocabulary)]) == vocabulary


@settings(max_examples=200)
@given(FEW, st.integers(257, 330), st.integers(0, 3))
def test_merges_are_those_of_the_peer(text, size, least):
    """A token that comes to be in two ways is merged further as there."""
    tokenizer = ByteLevelBPE.train_from_chunks(text, vocab_size=size, min_frequency=least)
    assert (list(tokenizer.vocabulary), list(tokenizer.merges)) == theirs([text], size, least)


def test_merges_of_many_scripts_are_those_of_gigatoken():
    peer = pytest.importorskip("gigatoken")
    text = TEXT * 3 + "ав ба вав 東京都の首都 " * 9
    _, expected = peer.train_bpe(text.encode(), 500, [])
    tokenizer = ByteLevelBPE.train_from_chunks(text, vocab_size=501, min_frequency=0)
    content = tokenizer.decode_bytes
    merges = [tuple(content([tokenizer.token_to_id(half)]) for half in pair) for pair in tokenizer.merges]
    assert merges == [tuple(map(bytes, pair)) for pair in expected][: len(merges)] and len(merges) > 150


def test_a_large_vocabulary_is_the_peers():
    rng = np.random.default_rng(0)
    words = TEXT.split(" ") + ["".join(rng.choice(list("etaoinshr"), rng.integers(1, 12))) for _ in range(3000)]
    text = " ".join(rng.choice(words, 30_000))
    tokenizer = ByteLevelBPE.train_from_chunks(text, vocab_size=6000, special_tokens=("<a>", "<|endoftext|>", "< b>"))
    vocabulary, merges = theirs([text], 6000, 2, ("<a>", "<|endoftext|>", "< b>"))
    assert list(tokenizer.vocabulary) == vocabulary and list(tokenizer.merges) == merges
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_room_for_the_state_grows(monkeypatch):
    """Every array begins as small as it can be."""
    expected = ByteLevelBPE.train_from_chunks(TEXT * 5, vocab_size=600, min_frequency=0)
    usual = training.learner

    def tight(*arguments):
        state = usual(*arguments)
        used = int(state.token_starts[257])
        return state._replace(content=state.content[: used + 40], merges=state.merges[:3])

    grown = []
    monkeypatch.setattr(training, "learner", tight)
    larger = merge_state.larger
    monkeypatch.setattr(merge_state, "larger", lambda state: grown.append(1) or larger(state))
    assert ByteLevelBPE.train_from_chunks(TEXT * 5, vocab_size=600, min_frequency=0) == expected
    assert len(grown) > 3


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**6), max_size=5))
def test_chunks_are_one_text(places):
    whole = ByteLevelBPE.train_from_chunks(TEXT, vocab_size=330)
    assert ByteLevelBPE.train_from_chunks(cut(TEXT, places), vocab_size=330) == whole


def test_files_are_texts_of_their_own(tmp_path):
    for name, text in (("a", "ab"), ("b", "ba ba")):
        (tmp_path / name).write_text(text)
    tokenizer = ByteLevelBPE.train([tmp_path / "a", tmp_path / "b"], vocab_size=300, min_frequency=1)
    assert ("a", "b") in tokenizer.merges and "baba" not in tokenizer.vocabulary and "abba" not in tokenizer.vocabulary
    assert tokenizer.vocabulary[0] == "<|endoftext|>" and tokenizer.vocabulary[1:5] == tuple('!"#$')


def test_a_special_token_in_the_text_is_learnt_like_any_other():
    text = "<|endoftext|>" * 50
    tokenizer = ByteLevelBPE.train_from_chunks(text, vocab_size=300)
    assert (list(tokenizer.vocabulary), list(tokenizer.merges)) == theirs([text], 300, 2)
    assert tokenizer.encode(text).tolist() == [0] * 50


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(vocab_size=256), ValueError, r"vocab_size must be in 257 .* \(256 bytes and 1 special tokens\), got 256"),
        (dict(vocab_size=2**30), ValueError, "vocab_size must be in 257"),
        (dict(vocab_size=300.0), TypeError, "vocab_size must be a whole number"),
        (dict(vocab_size=300, min_frequency=-1), ValueError, "min_frequency must be in 0"),
        (dict(vocab_size=300, special_tokens=["a"]), ValueError, "special token 'a' is also how a byte is written"),
        (dict(vocab_size=300, special_tokens="<s>"), TypeError, "got one str"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        ByteLevelBPE.train_from_chunks("ab ab", **options)


def test_nothing_to_learn_from(tmp_path):
    with pytest.raises(ValueError, match="text: nothing to train a tokenizer on"):
        ByteLevelBPE.train_from_chunks(["", ""], vocab_size=300)
    assert ByteLevelBPE.train_from_chunks("a b c", vocab_size=300).merges == ()
