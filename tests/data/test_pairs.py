"""Pairs of texts from files: what is read, and that every fault is told with its file and line."""

import gzip

import pytest

from minilm.data.pairs import Pair, hold_out, read_file, read_parallel


def write(path, text):
    (gzip.open if path.suffix == ".gz" else open)(path, "wb").write(text if isinstance(text, bytes) else text.encode())
    return path


def test_files(tmp_path):
    fixed = write(tmp_path / "sums", "16+75  _91  \n52+607 _659 \r\n")
    assert read_file(fixed) == [Pair("16+75", "91"), Pair("52+607", "659")]
    tabs = write(tmp_path / "tabs.gz", "a_b c\td_e\nü\tß\n")
    assert read_file(tabs) == [Pair("a_b c", "d_e"), Pair("ü", "ß")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a_b\nab\n", r':2: no tab and no "_" in \'ab\'; wanted source<TAB>target, or source_target'),
        ("a\tb\nab\n", r":2: no tabs in 'ab'; wanted source<TAB>"),
        ("a\tb\na\tb\tc\n", r":2: 2 tabs in"),
        ("a_b\n\n", r":2: no tab"),
        ("a\tb\n\tb\n", r":2: an empty source"),
        ("a\tb\na\t \n", r":2: an empty target"),
        ("", r": an empty file; wanted lines of source<TAB>"),
        (b"a_b\nc\xff_d\n", r":2: byte 2 of the line is not UTF-8"),
    ],
)
def test_faults_of_files(tmp_path, text, says):
    path = write(tmp_path / "pairs.txt", text)
    with pytest.raises(ValueError, match=rf"pairs\.txt{says}"):
        read_file(path)


def corpus(folder, prefix="", **files):
    for name, text in files.items():
        write(folder / (prefix + name.replace("__gz", ".gz").replace("_", ".")), text)


def test_parallel_text(tmp_path):
    corpus(tmp_path, train_de="eins\nzwei\n", train_en__gz="one\ntwo\n", val_de="drei\n", val_en="three\n", test_de="x\ny\n")
    train, validation = read_parallel(tmp_path)
    assert train == [Pair("eins", "one"), Pair("zwei", "two")] and validation == [Pair("drei", "three")]
    assert read_parallel(tmp_path, target="de")[0][0] == Pair("one", "eins")
    assert read_parallel(tmp_path, "en", "de")[1] == [Pair("three", "drei")]
    corpus(tmp_path, "small.", train_fr="un\n", train_en="one\n")
    assert read_parallel(tmp_path / "small.", "fr") == ([Pair("un", "one")], None)


@pytest.mark.parametrize(
    ("files", "kind", "says"),
    [
        ({"train_de": "a\nb\nc\n", "train_en": "a\nb\n"}, ValueError, r"train\.de:3: .*train\.en has no such line.*3 lines.* 2;"),
        ({"train_de": "a\n", "train_en": "a\nb\n"}, ValueError, r"train\.en:2: .*train\.de has no such line"),
        ({"train_de": "a\n \nc\n", "train_en": "a\nb\nc\n"}, ValueError, r"train\.de:2: an empty line; wanted a sentence"),
        ({"train_de": "", "train_en": ""}, ValueError, "an empty file"),
        ({"train_de": "a\n"}, FileNotFoundError, r"training files of de; wanted two such as train\.de and train\.en"),
        ({}, FileNotFoundError, "no training files"),
        (
            {"train_de": "a\n", "train_en": "a\n", "train_fr": "a\n"},
            ValueError,
            "de, en, fr; .*settings source and target",
        ),
        ({"train_de": "a\n", "train_en": "a\n", "val_de": "a\n"}, FileNotFoundError, r"there is no .*val\.en"),
        ({"train_de": "a\n", "train_en__gz": ""}, ValueError, "has no such line"),
    ],
)
def test_faults_of_parallel_text(tmp_path, files, kind, says):
    corpus(tmp_path, **files)
    with pytest.raises(kind, match=says):
        read_parallel(tmp_path)


def test_damaged_gzip_is_told(tmp_path):
    path = write(tmp_path / "a.tsv.gz", "a\tb\n" * 1000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"a\.tsv\.gz: not a whole gzip file after line"):
        read_file(path)
    path.write_bytes(b"a\tb\n")
    with pytest.raises(ValueError, match=r"a\.tsv\.gz: not a whole gzip file"):
        read_file(path)


def test_no_source_is_on_both_sides():
    pairs = [Pair(str(i // 3), str(i)) for i in range(300)]
    train, held = hold_out(pairs)
    assert sorted(train + held) == sorted(pairs) and len({pair.source for pair in held}) == 10
    assert not {pair.source for pair in train} & {pair.source for pair in held}
    assert hold_out(pairs) == (train, held) != hold_out(pairs, seed=1)
