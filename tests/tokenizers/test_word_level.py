import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import WordLevel

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# Words, marks and white space of all kinds, so that cuts fall inside words, after spaces and between "\r" and "\n".
MIXED = st.lists(
    st.sampled_from(
        [
            "the",
            "Dog",
            "don't",
            "’tis",
            "é",
            "漢",
            "😀",
            ",",
            ".",
            "--",
            "<unk>",
            "<eos>",
            " ",
            "\n",
            "\r\n",
            "\u2003",
            "_",
            "नमस्ते",
        ]
    ),
    max_size=30,
).map("".join)
PLACES = st.lists(st.integers(0, 200), max_size=6)


def cut(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]


def pieces(tokenizer, text):
    return [tokenizer.id_to_token(id) for id in tokenizer.encode(text)]


def test_ids_by_count_then_code_point():
    tokenizer = WordLevel.train_from_chunks("b b a c. c a d\n")
    assert tokenizer.vocabulary == ("<unk>", "<eos>", "a", "b", "c", ".", "d")
    assert tokenizer.special_tokens == ("<unk>", "<eos>")
    assert (tokenizer.unk_token_id, tokenizer.eos_token_id) == (0, 1)
    ids = tokenizer.encode("a new d.\n")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [2, 0, 6, 5, 1])
    assert tokenizer.decode(ids) == "a <unk> d .\n"
    # Counts alone matter, not the order of lines.
    assert WordLevel.train_from_chunks("d a c\nc. a b b") == tokenizer


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("Stay, said she.", ["Stay", ",", "said", "she", "."]),
        ("don't it’s 'tis rock'n'roll dogs'", ["don't", "it’s", "'", "tis", "rock'n'roll", "dogs", "'"]),
        ("well-known 3.14 $5 50%", ["well", "-", "known", "3", ".", "14", "$", "5", "50", "%"]),
        ("snake_case a...b", ["snake_case", "a", ".", ".", ".", "b"]),
        ("नमस्ते, Привет! 你好。", ["नमस्ते", ",", "Привет", "!", "你好", "。"]),
        ("hi😀😀", ["hi", "😀", "😀"]),
        ("a <unk> b<unk> <eos>", ["a", "<unk>", "b", "<", "unk", ">", "<eos>"]),
        ("<unk>s <unk>", ["<", "unk", ">", "s", "<unk>"]),
        (" \t\r\n\n \x0b\u2003x ", ["<eos>", "<eos>", "x"]),
        ("", []),
    ],
)
def test_split_words(text, tokens):
    assert pieces(WordLevel.train_from_chunks(text + " x"), text) == tokens


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("mr. <unk> did n't pay N @-@ \n", ["mr.", "<unk>", "did", "n't", "pay", "N", "@-@", "<eos>"]),
        ("\r\na\u00a0b\n\nlast", ["<eos>", "a", "b", "<eos>", "<eos>", "last"]),
    ],
)
def test_split_spaces(text, tokens):
    assert pieces(WordLevel.train_from_chunks(text, split="spaces"), text) == tokens


def test_lower():
    tokenizer = WordLevel.train_from_chunks("The THE the ΑΣ <UNK> İ", lower=True, unk_token="<UNK>")
    assert set(tokenizer.vocabulary) == {"<UNK>", "<eos>", "the", "ας", "i̇"}
    np.testing.assert_array_equal(tokenizer.encode("tHe <UNK> <unk> x"), [2, 0, 0, 0])
    assert WordLevel.train_from_chunks("The the").encode("The THE").tolist() == [2, 0]
    spaces = WordLevel.train_from_chunks("a <EOS>", lower=True, eos_token="<EOS>", split="spaces")
    assert spaces.vocabulary == ("<unk>", "<EOS>", "a")
    assert spaces.encode("A <EOS> <eos>\n").tolist() == [2, 1, 1, 1]


def test_limits_of_the_vocabulary():
    text = "a a a b b c c d"
    assert WordLevel.train_from_chunks(text, vocab_size=4).vocabulary == ("<unk>", "<eos>", "a", "b")
    assert WordLevel.train_from_chunks(text, min_count=2).vocabulary == ("<unk>", "<eos>", "a", "b", "c")
    assert WordLevel.train_from_chunks(text, vocab_size=99).vocab_size == 6
    # The special tokens' own spellings are not counted as words.
    assert WordLevel.train_from_chunks("<unk> <unk> <eos> a", vocab_size=3).vocabulary == ("<unk>", "<eos>", "a")
    for wrong, message in [
        (dict(vocab_size=2), "leave room"),
        (dict(min_count=9), "min_count 9 too large"),
        (dict(vocab_size=5, unk_token=None), "need unk_token"),
        (dict(min_count=2, unk_token=None), "need unk_token"),
    ]:
        with pytest.raises(ValueError, match=message):
            WordLevel.train_from_chunks(text, **wrong)
    with pytest.raises(ValueError, match="empty text"):
        WordLevel.train_from_chunks(" \n <unk>")


def test_without_special_tokens():
    tokenizer = WordLevel.train_from_chunks("a b\nc", unk_token=None, eos_token=None)
    assert tokenizer.vocabulary == ("a", "b", "c") and tokenizer.unk_token_id is None and tokenizer.eos_token_id is None
    np.testing.assert_array_equal(tokenizer.encode("c\na"), [2, 0])
    assert tokenizer.decode([2, 0]) == "c a"
    with pytest.raises(ValueError, match=r"^character 4: word 'xyz' is not in the vocabulary"):
        tokenizer.encode("a b xyz a xyz")
    with pytest.raises(ValueError, match=r"^corpus, character 1048580: word 'xyz'"):
        list(tokenizer.encode_chunks(["a b " * (1 << 18), "a b xyz"], source="corpus"))


@pytest.mark.parametrize("ids, text", [([1, 2, 3, 1, 1, 2], "\na b\n\na"), ([2, 1], "a\n"), ([0, 0], "<unk> <unk>"), ([], "")])
def test_decode(ids, text):
    tokenizer = WordLevel(["a", "b"])
    assert tokenizer.decode(ids) == text
    stream = tokenizer.decode_stream()
    for _ in range(2):  # flush begins anew
        assert "".join([stream.feed(id) for id in ids]) + stream.flush() == text


@settings(max_examples=200)
@given(ANY | MIXED, st.booleans(), st.sampled_from(["words", "spaces"]), st.sampled_from(["<eos>", None]))
def test_decoded_text_encodes_to_the_same_ids(text, lower, split, eos):
    tokenizer = WordLevel.train_from_chunks(text + " x", lower=lower, split=split, eos_token=eos)
    ids = tokenizer.encode(text)
    decoded = tokenizer.decode(ids)
    np.testing.assert_array_equal(tokenizer.encode(decoded), ids)
    if split == "spaces" and not lower:  # then decoding loses nothing but the kind and number of spaces
        assert decoded.split() == (text if eos is None else text.replace(" <eos> ", " ")).split() or "<eos>" in text
    if "<" not in text:
        assert 0 not in ids  # all words of the text it was trained on are known
    stream = tokenizer.decode_stream()
    assert "".join([stream.feed(id) for id in ids]) + stream.flush() == decoded


@settings(max_examples=200)
@given(ANY | MIXED, PLACES, st.booleans(), st.sampled_from(["words", "spaces"]))
def test_chunked_is_whole(text, places, lower, split):
    whole = WordLevel.train_from_chunks(text + " x", lower=lower, split=split)
    assert WordLevel.train_from_chunks([*cut(text, places), " x"], lower=lower, split=split) == whole
    ids = np.concatenate([np.empty(0, np.int32), *whole.encode_chunks(cut(text, places))])
    np.testing.assert_array_equal(ids, whole.encode(text))


@settings(max_examples=200)
@given(MIXED, st.integers(1, 9), st.sampled_from(["words", "spaces"]))
def test_pieces_smaller_than_words(text, size, split):
    """The pieces that are encoded at a time are large; here they are made small, so that every word is cut."""
    whole = WordLevel.train_from_chunks(text + " x", split=split)
    with pytest.MonkeyPatch.context() as patch:
        regroup = tokenizers.files.regroup
        for module in (tokenizers.files, tokenizers.word_level):
            patch.setattr(module, "regroup", lambda chunks: regroup(chunks, size))
        ids = np.concatenate([np.empty(0, np.int32), *whole.encode_chunks(text)])
        assert WordLevel.train_from_chunks(text + " x", split=split) == whole
    np.testing.assert_array_equal(ids, whole.encode(text))


def test_large_chunks_come_out_bounded():
    text = "ab\n" * 800_000
    tokenizer = WordLevel(["ab"])
    pieces = list(tokenizer.encode_chunks([text, "ab"]))
    assert max(map(len, pieces)) <= 1 << 20
    np.testing.assert_array_equal(np.concatenate(pieces), tokenizer.encode(text + "ab"))


def test_one_word_longer_than_any_piece():
    text = "a" * (5 << 18) + " b"
    tokenizer = WordLevel.train_from_chunks(text)
    assert [len(ids) for ids in tokenizer.encode_chunks(text)] == [1, 1]
    np.testing.assert_array_equal(np.concatenate(list(tokenizer.encode_chunks(text))), tokenizer.encode(text))


@settings(max_examples=200)
@given(ANY | MIXED, st.booleans(), st.sampled_from(["words", "spaces"]), st.sampled_from(["<unk>", None]))
def test_file_round_trip(tmp_path_factory, text, lower, split, unk):
    tokenizer = WordLevel.train_from_chunks(text + " x", lower=lower, split=split, unk_token=unk)
    path = tmp_path_factory.getbasetemp() / "word_level.json"
    tokenizer.save(path)
    for loaded in (tokenizers.load(path), WordLevel.load(path)):
        assert type(loaded) is WordLevel and loaded == tokenizer
        np.testing.assert_array_equal(loaded.encode(text), tokenizer.encode(text))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(words=["a b"]), "without white space, got 'a b'"),
        (dict(words=[""]), "non-empty"),
        (dict(words=[3]), "got 3"),
        (dict(words=["a", "b", "a"]), "'a' is twice"),
        (dict(words=["<unk>"]), "'<unk>' is twice"),
        (dict(words=["a"], eos_token="<unk>"), "'<unk>' is twice"),
        (dict(words=["a"], eos_token="\n"), "without white space"),
        (dict(words=["a"], split="letters"), "split must be one of 'words', 'spaces', got 'letters'"),
        (dict(words=["\ud800"]), r"lone surrogate, U\+D800"),
        (dict(words=[], unk_token=None, eos_token=None), "at least one word"),
    ],
)
def test_wrong_vocabularies(arguments, message):
    with pytest.raises(ValueError, match=message):
        WordLevel(**arguments)
