"""Texts: reading in pieces, splitting, bad files."""

import gzip

import pytest

from minilm import data
from minilm.data.texts import Text
from minilm.tokenizers import files

SAMPLE = "Grüße, 世界! 🦊\r\n" * 300  # characters of one to four bytes


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.txt"
    path.write_bytes(SAMPLE.encode("utf-8"))
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_ranges_at_any_chunk_size(sample, size, monkeypatch):
    monkeypatch.setattr("minilm.data.texts.read_text", lambda path, errors: files.read_text(path, errors, size))
    assert "".join(Text(sample)) == SAMPLE and Text(sample).length == len(SAMPLE)
    for start, stop in ((0, 0), (5, 5), (3, 1000), (999, 1001), (4000, None), (0, 10**9), (len(SAMPLE), None)):
        assert "".join(Text(sample, start, stop)) == SAMPLE[start:stop]


def test_split_is_by_characters_as_nanogpt_does(sample):
    train, validation = data.text(sample).split(0.1)
    cut = int(0.9 * len(SAMPLE))
    assert ("".join(train), "".join(validation)) == (SAMPLE[:cut], SAMPLE[cut:])
    first, second = validation.split(0.5)
    assert "".join(first) + "".join(second) == SAMPLE[cut:]
    assert str(validation).endswith(f"sample.txt from character {cut} on")


def test_bad_splits(sample, tmp_path):
    for fraction in (0, 1, -0.1, 2):
        with pytest.raises(ValueError, match="fraction must lie in"):
            data.text(sample).split(fraction)
    short = tmp_path / "short.txt"
    short.write_text("a")
    with pytest.raises(ValueError, match="short.txt: 1 characters are too few"):
        data.text(short).split()


def test_bad_files(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    with pytest.raises(ValueError, match="empty.txt is empty"):
        data.text(empty)
    with pytest.raises(ValueError, match="is a folder"):
        data.text(tmp_path)
    with pytest.raises(ValueError, match="there is no file .*missing.txt"):
        data.text(tmp_path / "missing.txt")
    packed = tmp_path / "packed.txt"
    packed.write_bytes(gzip.compress(b"text"))
    with pytest.raises(ValueError, match="packed.txt is compressed by gzip"):
        data.text(packed)
    bad = tmp_path / "bad.txt"
    bad.write_bytes("abc\u00e9".encode() + b"\xff\xfe" + b"z" * 10)
    with pytest.raises(ValueError, match=r"bad.txt: invalid UTF-8 at byte 5 .*--errors replace"):
        data.text(bad).split()
    assert "".join(data.text(bad, errors="replace")) == "abcé\ufffd\ufffd" + "z" * 10
    with pytest.raises(ValueError, match="errors must be one of"):
        data.text(bad, errors="skip")
    with pytest.raises(ValueError, match="range of characters"):
        Text(bad, 5, 4)


def test_fingerprints_tell_texts_apart(sample, tmp_path):
    text = data.text(sample)
    copy = tmp_path / "copy.txt"
    copy.write_bytes(sample.read_bytes())
    assert text.fingerprint() == data.text(copy).fingerprint()
    copy.write_bytes(sample.read_bytes()[:-1] + b"x")
    train, validation = text.split(0.1)
    texts = [text, data.text(copy), data.text(sample, errors="replace"), train, validation, text.split(0.2)[0]]
    assert len({each.fingerprint() for each in texts}) == len(texts)
