import builtins
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm import tokenizers
from minilm.tokenizers import Character, Word, WordLevel, read_text


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text("aé漢😀\r\n").map(str.encode), st.integers(1, 9))
def test_reading_in_chunks_is_decoding(tmp_path_factory, content, chunk_bytes):
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_bytes(content)
    for errors in ("replace", "ignore"):
        assert "".join(read_text(path, errors, chunk_bytes)) == content.decode("utf-8", errors)
    try:
        expected = content.decode("utf-8")
    except UnicodeDecodeError as error:
        with pytest.raises(ValueError, match=rf"invalid UTF-8 at byte {error.start} \(0x{content[error.start]:02x}: "):
            list(read_text(path, chunk_bytes=chunk_bytes))
    else:
        assert "".join(read_text(path, chunk_bytes=chunk_bytes)) == expected


@pytest.mark.parametrize("content, byte", [(b"abc\xff", 3), (b"caf\xe9 au lait", 3), (b"abcd\xe6\xbc", 4), (b"\xed\xa0\x80", 0)])
def test_invalid_utf8_says_where_and_what_to_do(tmp_path, content, byte):
    path = tmp_path / "latin.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'latin.txt: invalid UTF-8 at byte {byte} .*errors="replace" .*--errors replace'):
        Character.train(path)
    tokenizer = Character.train(path, errors="replace")
    assert "\ufffd" in tokenizer.vocabulary
    assert tokenizer.decode(np.concatenate(list(tokenizer.encode_file(path, errors="replace")))) == content.decode(
        errors="replace"
    )


def test_wrong_ways_to_read(tmp_path):
    with pytest.raises(ValueError, match="errors must be one of 'strict', 'replace', 'ignore', got 'surrogateescape'"):
        read_text(tmp_path / "x", errors="surrogateescape")
    with pytest.raises(ValueError, match="chunk_bytes must be at least 1"):
        read_text(tmp_path / "x", chunk_bytes=0)
    with pytest.raises(FileNotFoundError):
        Character.train(tmp_path / "missing")
    with pytest.raises(ValueError, match="use train_from_chunks"):
        Character.train("To be, or\nnot to be")
    with pytest.raises(ValueError, match="at least one file"):
        Character.train([])
    (tmp_path / "empty.txt").touch()
    for kind in (Character, WordLevel):
        with pytest.raises(ValueError, match=r"empty\.txt: no (characters|words) .*empty text"):
            kind.train(tmp_path / "empty.txt")


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1 << 20])
def test_encoding_a_file(tmp_path, chunk_bytes):
    text = "\ufeffThe naïve 漢字 😀 dog's\r\nlife.\n"
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    for kind in (Character, WordLevel):
        tokenizer = kind.train(str(path))
        assert tokenizer == kind.train_from_chunks(text) == kind.train([path])
        ids = np.concatenate(list(tokenizer.encode_file(path, chunk_bytes=chunk_bytes)))
        np.testing.assert_array_equal(ids, tokenizer.encode(text))
    with pytest.raises(ValueError, match=r"text\.txt, character 7: 'ï' \(U\+00EF\)"):
        list(Character("\ufeffThe na").encode_file(path, chunk_bytes=chunk_bytes))


def test_words_do_not_run_on_into_the_next_file(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("dog")
    assert WordLevel.train(paths).vocabulary == ("<unk>", "<eos>", "dog")
    assert WordLevel.train_from_chunks(["dog", "dog"]).vocabulary == ("<unk>", "<eos>", "dogdog")


def fitted_word():
    word = Word(oov_token="<oov>")
    word.fit_on_texts(["a b a", "c a"])
    return word


@pytest.mark.parametrize("make", [lambda: Character("ab"), lambda: WordLevel(["a", "b"]), fitted_word])
def test_save_is_atomic(tmp_path, monkeypatch, make):
    tokenizer = make()
    tokenizer.save(tmp_path)  # a folder: into its tokenizer.json
    path = tmp_path / "tokenizer.json"
    assert [each.name for each in tmp_path.iterdir()] == ["tokenizer.json"]
    before = path.read_bytes()
    assert type(tokenizers.load(tmp_path)) is type(tokenizers.load(path)) is type(tokenizer)

    synced, fsync = [], os.fsync
    for name in ("fsync", "replace"):  # a full disk, at either step
        with monkeypatch.context() as patch:

            def fail(*_):
                raise OSError(28, "No space left on device")

            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left"):
                tokenizer.save(path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["tokenizer.json"]

    def watch(descriptor):
        synced.append(path.read_bytes() if path.exists() else None)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    path.write_bytes(b"old")
    tokenizer.save(path)
    assert synced[0] == b"old" and path.read_bytes() == before  # flushed before it takes the old file's place


def test_unwritable_folder(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        Character("ab").save(tmp_path / "missing" / "tokenizer.json")
    real = builtins.open

    def refuse(name, mode="r", *arguments, **options):
        if "x" in mode:
            raise PermissionError(13, "Permission denied")
        return real(name, mode, *arguments, **options)

    Character("ab").save(tmp_path)
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(PermissionError):
        Character("abc").save(tmp_path)
    assert tokenizers.load(tmp_path) == Character("ab")


CHARACTER = json.loads(Character("ab", unk_token="<unk>").to_json())
WORD_LEVEL = json.loads(WordLevel(["a", "b"]).to_json())
WORD = {"type": "Word", "version": 1, "config": fitted_word().get_config()}


def without(fields, name):
    return {each: value for each, value in fields.items() if each != name}


def with_config(**changes):
    return {**WORD, "config": {**WORD["config"], **changes}}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not valid JSON"),
        (b'{"type": "Character", ', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        ([], "expected a JSON object, got list"),
        ({"model": {"type": "Unigram"}, "version": "1.0"}, "tokenizer of type 'Unigram', expected 'Character'"),
        (without(CHARACTER, "version"), "field 'version' is missing"),
        ({**CHARACTER, "version": "1"}, "field 'version' must be int, got str"),
        ({**CHARACTER, "version": True}, "field 'version' must be int, got bool"),
        ({**CHARACTER, "version": 99}, "format version 99 is unknown"),
        (
            {**CHARACTER, "type": "Bogus"},
            "tokenizer of type 'Bogus', expected 'Character' or 'WordLevel' or 'WordPiece' or 'Word' or 'BPE'",
        ),
        (without(CHARACTER, "characters"), "field 'characters' is missing"),
        (without(CHARACTER, "unk_token"), "field 'unk_token' is missing"),
        ({**CHARACTER, "characters": "ab"}, "field 'characters' must be list, got str"),
        ({**CHARACTER, "characters": ["a", 3]}, "field 'characters' must be a list of str, got int at position 1"),
        ({**CHARACTER, "characters": ["b", "a"]}, "sorted by code point"),
        ({**CHARACTER, "characters": ["a", "a"]}, "sorted by code point"),
        ({**CHARACTER, "characters": ["ab"]}, "single characters"),
        ({**CHARACTER, "characters": ["\ud800"]}, "lone surrogate"),
        ({**CHARACTER, "unk_token": 5}, "field 'unk_token' must be str or null, got int"),
        (without(WORD_LEVEL, "words"), "field 'words' is missing"),
        ({**WORD_LEVEL, "lower": 0}, "field 'lower' must be bool, got int"),
        ({**WORD_LEVEL, "split": "x"}, "split must be one of"),
        ({**WORD_LEVEL, "words": ["a", "a"]}, "'a' is twice"),
        (without(WORD, "config"), "field 'config' is missing"),
        (with_config(word_index="{"), "field 'word_index' is not valid JSON"),
        (with_config(word_index="[]"), "field 'word_index' must hold a JSON object, got list"),
        (with_config(word_index='{"a": "1"}'), "field 'word_index' must map to int, got '1' at 'a'"),
        (with_config(index_word='{"a": "a"}'), "field 'index_word' must have integers as keys, got 'a'"),
        (with_config(num_words="3"), "field 'num_words' must be int or null, got str"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ValueError, match=rf"bad\.json: .*{message}"):
        tokenizers.load(path)


def test_load_of_a_class_wants_that_class(tmp_path):
    Character("ab").save(tmp_path)
    for kind in (WordLevel, Word):
        with pytest.raises(ValueError, match=f"tokenizer.json: tokenizer of type 'Character', expected '{kind.__name__}'"):
            kind.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        tokenizers.load(tmp_path / "missing.json")


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_never_crashes(tmp_path_factory, place, byte):
    """Every damaged file either is refused with its name or loads as some tokenizer that works."""
    folder = tmp_path_factory.getbasetemp()
    path = folder / "damaged.json"
    for fields in (CHARACTER, WORD_LEVEL, WORD):
        content = bytearray(json.dumps(fields).encode())
        content[place % len(content)] = byte
        path.write_bytes(content)
        try:
            tokenizer = tokenizers.load(path)
        except ValueError as error:
            assert "damaged.json: " in str(error)
        else:
            if isinstance(tokenizer, Word):
                assert tokenizer.sequences_to_texts(tokenizer.texts_to_sequences(["a b"]))
            else:
                assert tokenizer.decode(range(tokenizer.vocab_size))
