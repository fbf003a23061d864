"""Lines of files as they come, and rows that are bad."""

import gzip
import io
import sys
import tracemalloc

import pytest

from minilm.data.lines import REFUSE, BadRow, BadRows, lines, whole_text
from minilm.models import WordVectors

CONTENTS = {
    "unix": b"one\ntwo\n\nfour\n",
    "windows": b"one\r\ntwo\r\n\r\nfour\r\n",
    "old macintosh": b"one\rtwo\r\rfour\r",
    "no last end": b"one\ntwo\n\nfour",
    "mark": b"\xef\xbb\xbfone\ntwo\n\nfour\n",
    "mark, old macintosh": b"\xef\xbb\xbfone\rtwo\r\rfour",
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("packed", [False, True])
def test_line_ends_marks_and_gzip(tmp_path, name, packed):
    path = tmp_path / "text"  # no .gz in its name: the content says it
    path.write_bytes(gzip.compress(CONTENTS[name]) if packed else CONTENTS[name])
    assert [line.text for line in lines(path)] == ["one", "two", "", "four"]
    assert [line.number for line in lines(path)] == [1, 2, 3, 4] and next(lines(path)).where == f"{path}:1"
    assert whole_text(path) == CONTENTS[name].decode("utf-8-sig")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_nothing(tmp_path, content):
    (tmp_path / "empty").write_bytes(content)
    assert list(lines(tmp_path / "empty")) == [] and whole_text(tmp_path / "empty") == ""


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a\nb\n"))))
    assert [line.where for line in lines("-")] == ["-:1", "-:2"] and not sys.stdin.closed
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed"):
        next(lines("-"))


def test_what_is_not_utf_8(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"one\ncaf\xe9\nthree\n")
    with pytest.raises(BadRow, match=r"latin:2: byte 4 of the line is not UTF-8 \(0xe9\)"):
        [line.text for line in lines(path)]
    with pytest.raises(ValueError, match=r"latin: byte 7 is not UTF-8 \(0xe9\)"):
        whole_text(path)


def test_bad_rows_are_left_out_and_counted(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"one\ncaf\xe9\nthree\n\xff\n")
    bad_rows, kept = BadRows(skip=True), []
    for line in lines(path):
        with bad_rows:
            kept.append(line.text)
    assert kept == ["one", "three"] and bad_rows.count == 2 and ":2: byte 4" in bad_rows.first
    assert str(bad_rows) == f"left out 2 bad rows; the first: {bad_rows.first}"
    with pytest.raises(KeyError), bad_rows:  # nothing else is held back
        raise KeyError("x")
    with pytest.raises(ValueError, match="all of the 2 rows are bad; the first: .*latin:2"):
        bad_rows.require([], "an empty file")
    with pytest.raises(BadRow), REFUSE:
        raise BadRow("x")
    with pytest.raises(ValueError, match="^an empty file$"):
        REFUSE.require([], "an empty file")


@pytest.mark.parametrize("read", [lambda path: [*lines(path)], whole_text, WordVectors.load])
def test_what_gzip_packed_to_a_thousandth_is_refused(read, tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(80):
            file.write(b"1 1 " + bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"bomb\.gz: [\d,]+ bytes of gzip's unpack to more than 67,1.*, which no text does"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2.2e8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [lambda path: [*lines(path)], whole_text, WordVectors.load])
def test_an_empty_file_is_none_of_gzips(read, tmp_path):
    (tmp_path / "empty.gz").touch()
    with pytest.raises(ValueError, match=r"empty\.gz: not a whole gzip file.*: it is empty"):
        read(tmp_path / "empty.gz")


def test_a_packed_text_through_a_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(b"eins\nzwei\n")))))
    assert [line.text for line in lines("-")] == ["eins", "zwei"]
