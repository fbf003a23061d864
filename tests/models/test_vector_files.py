"""Files of vectors as they are found, read as gensim reads them."""

import gzip
import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.models.word_vectors import WordVectors

RNG = np.random.default_rng(3)


def peer(path, **options):
    keyed_vectors = pytest.importorskip("gensim.models", reason="gensim is not installed").KeyedVectors
    found = keyed_vectors.load_word2vec_format(str(path), **options)
    words = [word for word in found.index_to_key if word is not None]  # it leaves empty rows where words come again
    return words, found.vectors[: len(words)]


def same(given, wanted):
    assert given.words == wanted[0]
    np.testing.assert_array_equal(given.vectors, wanted[1])


def text(words, vectors, header=True) -> bytes:
    lines = [word + b" " + b" ".join(b"%.6g" % x for x in row) for word, row in zip(words, vectors, strict=True)]
    return (b"%d %d\n" % vectors.shape if header else b"") + b"\n".join(lines) + b"\n"


def binary(words, vectors, end=b"\n") -> bytes:
    rows = (word + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, vectors, strict=True))
    return b"%d %d\n" % vectors.shape + b"".join(rows)


# a no-break space, other blanks of Unicode, a line end of Unicode and a quotation mark inside of words; numbers as words
WORDS = ["the", "a\u00a0b", "\u00a0", "x\u3000y", "p\x85q", "u\u2028v", "हिन्दी", "5", "0.5", "."]
BYTES = [word.encode() for word in WORDS]
VECTORS = RNG.standard_normal((len(WORDS), 7)).astype(np.float32)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["text", "glove", "binary", "binary without line feeds"])
def test_every_form(tmp_path, form, packed):
    content = {
        "text": text(BYTES, VECTORS),
        "glove": text(BYTES, VECTORS, header=False),
        "binary": binary(BYTES, VECTORS),
        "binary without line feeds": binary(BYTES, VECTORS, end=b""),
    }[form]
    path = tmp_path / ("vectors.gz" if packed else "vectors")
    path.write_bytes(gzip.compress(content) if packed else content)
    same(WordVectors.load(path), peer(path, binary=form.startswith("binary"), no_header=form == "glove"))
    assert WordVectors.load(path, most=3).words == WORDS[:3]
    assert WordVectors.load(path, binary=form.startswith("binary")).words == WORDS
    if "binary" not in form:
        assert WordVectors.load_text(path).words == WORDS


def test_words_with_no_break_spaces_go_and_come(tmp_path):
    path = tmp_path / "vectors.txt"
    WordVectors(WORDS, VECTORS).save_text(path)
    same(WordVectors.load(path), (WORDS, VECTORS))
    same(WordVectors.load(path), peer(path))


@pytest.mark.parametrize("name", ["vectors", "vectors.gz"])
def test_what_is_written_is_read_by_gensim(tmp_path, name):
    WordVectors(WORDS, VECTORS).save_text(tmp_path / name)
    same(WordVectors.load(tmp_path / name), peer(tmp_path / name))
    WordVectors(WORDS, VECTORS.astype(np.float64)).save_binary(tmp_path / name)
    same(WordVectors.load(tmp_path / name), peer(tmp_path / name, binary=True))
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")
    for wrong in ("a b", "", "a\n"):
        with pytest.raises(ValueError, match="no place for the word"):
            WordVectors([wrong], VECTORS[:1]).save_binary(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("form", ["text", "binary"])
def test_words_that_come_again(tmp_path, form):
    words = [b"a", b"b", b"a", b"c", b"b"]
    path = tmp_path / "vectors"
    path.write_bytes((text if form == "text" else binary)(words, VECTORS[:5]))
    with pytest.warns(UserWarning, match=r"vectors: 2 words come again, first 'a' at .*; the first vector of each is kept"):
        found = WordVectors.load(path)
    same(found, peer(path, binary=form == "binary"))


@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_broken_utf_8(tmp_path, form, errors):
    path = tmp_path / "vectors"
    path.write_bytes((text if form == "text" else binary)([b"caf\xe9", b"b", b"\xe9\xe9x"], VECTORS[:3]))
    with pytest.raises(ValueError, match=r"vectors(:2|, word 1): not UTF-8 .*errors=\"replace\""):
        WordVectors.load(path)
    same(WordVectors.load(path, errors=errors), peer(path, binary=form == "binary", unicode_errors=errors))
    with pytest.raises(ValueError, match="errors must be one of"):
        WordVectors.load(path, errors="other")


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_wrong_count(tmp_path, form):
    content = (text if form == "text" else binary)(BYTES[:3], VECTORS[:3])
    path = tmp_path / "vectors"
    path.write_bytes(content.replace(b"3 7", b"2 7", 1))
    with pytest.warns(UserWarning, match="tells of 2 words, what follows them is left out"):
        found = WordVectors.load(path)
    same(found, peer(path, binary=form == "binary"))
    path.write_bytes(content.replace(b"3 7", b"4 7", 1))
    with pytest.raises(ValueError, match="tells of 4 words, there are 3: the file is cut short"):
        WordVectors.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(WordVectors.load(path, most=2)) == 2  # nothing is left out but what was not wanted


def test_marks_blanks_in_words_and_other_line_ends(tmp_path):
    """What gensim does not read, as GloVe 840B has it: "at name@domain.com 0.1 ..."."""
    path = tmp_path / "vectors"
    wanted = ([". . .", "b", "at name@domain.com"], VECTORS[:3])
    for header in (False, True):
        content = text([word.encode() for word in wanted[0]], VECTORS[:3].astype(np.float16), header)
        for form in (content, b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content.replace(b"\n", b" \n") + b"\n"):
            path.write_bytes(form)
            found = WordVectors.load(path)
            assert found.words == wanted[0]
            np.testing.assert_allclose(found.vectors, VECTORS[:3], rtol=1e-3)
    path.write_bytes(b"a\t1  2\nb 3\t4\n")
    same(WordVectors.load(path), (["a", "b"], [[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"99999999999999999999 3\na 1 2 3\n", "fields|no number"),
        (b"2 999999999999\na 1 2 3\n", "numbers|first line"),
        ("² 3\na 1 2 3\n".encode(), "fields"),
        (b"word\n", "numbers"),
        (b"2 0\na\n", "0 numbers|first line"),
        (b"\x1f\x8b\x08\x00", "not a whole gzip file"),
        (b"1 2\na " + b"\xff" * 7, "there are 0: the file is cut short"),
        (b"1 2\n" + b"\x00" * (1 << 21), "without a blank|fields"),
    ],
)
def test_what_is_no_file_of_vectors(tmp_path, content, says):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        WordVectors.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    if content[:1] == b"1":
        with pytest.raises(ValueError, match="without a blank|there are 0"):
            WordVectors.load(path, binary=True)


LETTERS = st.characters(exclude_characters=" \t\r\n", exclude_categories=["Cs"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(LETTERS, min_size=1), min_size=1, unique=True),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_drawn_files(tmp_path_factory, words, D, seed):
    vectors = np.random.default_rng(seed).standard_normal((len(words), D)).astype(np.float32)
    path = tmp_path_factory.mktemp("drawn") / "vectors"
    WordVectors(words, vectors).save_text(path)
    same(WordVectors.load(path), (words, vectors))
    path.write_bytes(binary([word.encode() for word in words], vectors))
    same(WordVectors.load(path), (words, vectors))


def test_a_pipe(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(binary(BYTES, VECTORS)))))
    same(WordVectors.load("-"), (WORDS, VECTORS))
