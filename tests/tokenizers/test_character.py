import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import Character
from minilm.tokenizers.checks import check_ids

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)  # all planes, without surrogates
# Few distinct characters, one of every width in UTF-8, so that texts share them.
FEW = st.text("aé漢😀\r\n", min_size=1, max_size=60)


def cut(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]


def test_ids_are_ranks_of_code_points():
    tokenizer = Character.train_from_chunks("hello, Wörld\n")
    assert tokenizer.vocabulary == ("\n", " ", ",", "W", "d", "e", "h", "l", "o", "r", "ö")
    ids = tokenizer.encode("hello\n")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [6, 5, 7, 7, 8, 0])
    assert tokenizer.decode(ids) == "hello\n"
    assert tokenizer.vocab_size == 11
    assert tokenizer.token_to_id("ö") == 10 and tokenizer.token_to_id("q") is None
    assert tokenizer.id_to_token(10) == "ö" and tokenizer.id_to_token(np.int64(0)) == "\n"
    assert tokenizer.unk_token_id is None and tokenizer.eos_token_id is None
    assert tokenizer.encode("").shape == (0,) and tokenizer.encode("").dtype == np.int32 and tokenizer.decode([]) == ""


@settings(max_examples=60)
@given(ANY.filter(len))
def test_round_trip_over_all_planes(text):
    tokenizer = Character.train_from_chunks(text)
    assert tokenizer.vocabulary == tuple(sorted(set(text)))
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32 and ids.shape == (len(text),)
    assert [tokenizer.id_to_token(id) for id in ids] == list(text)
    assert tokenizer.decode(ids) == text


def test_first_and_last_code_points():
    text = "\0\ud7ff\ue000\uffff\U00010000\U0010ffff\x7f\x80"
    tokenizer = Character.train_from_chunks(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    np.testing.assert_array_equal(tokenizer.encode(text), [0, 3, 4, 5, 6, 7, 1, 2])


@settings(max_examples=60)
@given(FEW, st.lists(st.integers(0, 100), max_size=6))
def test_chunked_is_whole(text, places):
    tokenizer = Character("aé漢😀\r\n")
    ids = np.concatenate([np.empty(0, np.int32), *tokenizer.encode_chunks(cut(text, places))])
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, tokenizer.encode(text))
    assert Character.train_from_chunks(cut(text, places)) == Character.train_from_chunks(text)
    stream = tokenizer.decode_stream()
    assert "".join([stream.feed(id) for id in ids]) + stream.flush() == text


def test_large_chunks_come_out_bounded():
    text = "ab\n" * 800_000
    tokenizer = Character("ab\n")
    pieces = list(tokenizer.encode_chunks([text, "", "b"]))
    assert max(map(len, pieces)) <= 1 << 20
    np.testing.assert_array_equal(np.concatenate(pieces), tokenizer.encode(text + "b"))


@pytest.mark.parametrize("known", ["ab", "abé", "ab😀"])
@pytest.mark.parametrize("unknown", ["c", "\0", "\x7f", "à", "漢", "\U0010ffff"])
def test_unknown_character_is_named(known, unknown):
    tokenizer = Character(known)
    text = "ab" + unknown + "a"
    with pytest.raises(ValueError, match=rf"^character 2: .*\(U\+{ord(unknown):04X}\) is not in the vocabulary"):
        tokenizer.encode(text)
    with pytest.raises(ValueError, match=r"^corpus, character 1048578: "):
        list(tokenizer.encode_chunks(["ab" * (1 << 19), text], source="corpus"))
    lenient = Character(known, unk_token="<unk>")
    assert lenient.unk_token_id == len(known) == lenient.vocab_size - 1
    np.testing.assert_array_equal(lenient.encode(text), [0, 1, len(known), 0])
    assert lenient.decode(lenient.encode(text)) == "ab<unk>a"


def test_special_tokens_follow_the_characters():
    tokenizer = Character("ba", unk_token="<unk>", special_tokens=["<eos>"])
    assert tokenizer.vocabulary == ("a", "b", "<unk>", "<eos>") and tokenizer.special_tokens == ("<unk>", "<eos>")
    assert tokenizer.decode([3, 0, 1, 2, 2, 1, 3]) == "<eos>ab<unk><unk>b<eos>"
    assert tokenizer.token_to_id("<eos>") == 3
    np.testing.assert_array_equal(tokenizer.encode("<eos>a"), [2, 2, 2, 2, 2, 0])  # a text never spells a special token


def test_vocab_size_keeps_the_most_frequent():
    tokenizer = Character.train_from_chunks("ccccaabbdd", vocab_size=4, unk_token="?")
    assert tokenizer.vocabulary == ("a", "b", "c", "?")  # of the equally frequent a, b, d the lower code points
    assert Character.train_from_chunks("ab", vocab_size=9, unk_token="?").vocabulary == ("a", "b", "?")
    with pytest.raises(ValueError, match="needs unk_token"):
        Character.train_from_chunks("ab", vocab_size=2)
    with pytest.raises(ValueError, match="leave room"):
        Character.train_from_chunks("ab", vocab_size=1, unk_token="?")


@pytest.mark.parametrize("surrogate", ["\ud800", "\udfff"])
def test_lone_surrogates_are_refused(surrogate):
    with pytest.raises(ValueError, match=rf"character 1: lone surrogate U\+{ord(surrogate):04X}"):
        Character("ab").encode("a" + surrogate)
    with pytest.raises(ValueError, match="text, character 1: lone surrogate"):
        Character.train_from_chunks("a" + surrogate)
    far = ["a" * (1 << 20), "b" + surrogate]
    with pytest.raises(ValueError, match="^corpus, character 1048577: lone surrogate"):
        list(Character("ab").encode_chunks(far, source="corpus"))
    with pytest.raises(ValueError, match="^text, character 1048577: lone surrogate"):
        Character.train_from_chunks(far)
    with pytest.raises(ValueError, match="lone surrogate"):
        Character(["a", surrogate])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(characters=""), "at least one character"),
        (dict(characters=["ab"]), "single characters"),
        (dict(characters="ab", unk_token="a"), "also one of the characters"),
        (dict(characters="ab", unk_token=""), "non-empty"),
        (dict(characters="ab", unk_token="<x>", special_tokens=["<x>"]), "twice"),
    ],
)
def test_wrong_vocabularies(arguments, message):
    with pytest.raises(ValueError, match=message):
        Character(**arguments)


def test_wrong_texts():
    tokenizer = Character("ab")
    with pytest.raises(TypeError, match="text must be a str, got bytes: decode it first"):
        tokenizer.encode(b"ab")
    with pytest.raises(TypeError, match="text must be a str, got NoneType"):
        tokenizer.encode(None)
    with pytest.raises(TypeError, match="iterable of str, got a bytes"):
        list(tokenizer.encode_chunks([b"ab"]))
    with pytest.raises(ValueError, match="empty text"):
        Character.train_from_chunks(["", ""])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_of_any_integer_type(dtype):
    tokenizer = Character("abc", special_tokens=["<x>"])
    assert tokenizer.decode(np.array([2, 0, 3, 1], dtype)) == "ca<x>b"
    assert tokenizer.decode(dtype(2)) == tokenizer.decode(np.array(2, dtype)) == "c"


@pytest.mark.parametrize("ids", [[2, 0, 1], (2, 0, 1), np.array([2, 0, 1])[::1], range(2, -1, -1)])
def test_ids_of_any_container(ids):
    assert sorted(Character("abc").decode(ids)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "ids, error, message",
    [
        ([0, 3], ValueError, r"^ids must be in 0 \.\.\. 2, got 3 at position 1$"),
        ([0, 1, -1], ValueError, "got -1 at position 2"),
        (np.array([0, 2**63], np.uint64), ValueError, f"got {2**63} at position 1"),
        ([0, 2**70], ValueError, f"got {2**70} at position 1"),
        ([-1, 2**63], ValueError, "got -1 at position 0"),
        (7, ValueError, "got 7 at position 0"),
        (2**70, ValueError, f"got {2**70} at position 0"),
        ([0, 1.0], TypeError, "got 1.0 .float. at position 1"),
        (np.array([0.0, 1.0]), TypeError, "float64"),
        ([True], TypeError, "got True .bool. at position 0"),
        (np.array([True, False]), TypeError, "bool"),
        ("ab", TypeError, "got 'ab'"),
        (["a"], TypeError, "got 'a' .str. at position 0"),
        ([0, None], TypeError, "got None .NoneType. at position 1"),
        (None, TypeError, "got None"),
        ([[0, 1]], ValueError, r"shape \(T,\) or \(\), got \(1, 2\): decode_batch"),
        ([[0], [0, 1]], ValueError, "one sequence of integers"),
        ((id for id in [0, 1]), TypeError, "generator"),
    ],
)
def test_wrong_ids_are_named(ids, error, message):
    tokenizer = Character("abc")
    for decode in (tokenizer.decode, tokenizer.decode_stream().feed):
        with pytest.raises(error, match=message):
            decode(ids)


def test_ids_that_need_no_more_than_their_values():
    np.testing.assert_array_equal(check_ids(np.array([1, 2], object), 3), [1, 2])
    assert check_ids(np.array([1, 2], object), 3).dtype == np.int64
    assert check_ids(np.array([]), 3).dtype == np.int32


def test_batches():
    tokenizer = Character("abc")
    ids = tokenizer.encode_batch(["ab", "", "c"])
    assert [each.tolist() for each in ids] == [[0, 1], [], [2]]
    assert tokenizer.decode_batch(ids) == ["ab", "", "c"]
    assert tokenizer.decode_batch(np.array([[0, 1], [2, 2]])) == ["ab", "cc"]
    with pytest.raises(TypeError, match="use encode"):
        tokenizer.encode_batch("ab")


@settings(max_examples=60)
@given(ANY.filter(lambda text: "<unk>" not in text and len(text)), st.booleans())
def test_file_round_trip(tmp_path_factory, text, lenient):
    tokenizer = Character.train_from_chunks(text, unk_token="<unk>" if lenient else None, special_tokens=["<|end|>"])
    path = tmp_path_factory.getbasetemp() / "character.json"
    tokenizer.save(path)
    for loaded in (tokenizers.load(path), Character.load(path)):
        assert type(loaded) is Character and loaded == tokenizer and hash(loaded) == hash(tokenizer)
        assert loaded.vocabulary == tokenizer.vocabulary and loaded.unk_token == tokenizer.unk_token
        np.testing.assert_array_equal(loaded.encode(text), tokenizer.encode(text))
