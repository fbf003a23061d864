"""Tables on disk are those that would be made, a file that is not whole is made anew, and short texts have small tables."""

import os
import shutil

import numpy as np
import pytest

from minilm.tokenizers import ByteLevelBPE
from minilm.tokenizers.bpe import state as thread_state
from minilm.tokenizers.bpe import table_files

from .helpers import TEXT, small


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A cache of its own, in which the tables of small vocabularies are kept too."""
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(table_files, "LEAST", 0)
    return tmp_path / table_files.FOLDER


def new(**options):
    """A tokenizer that has made no tables yet."""
    return ByteLevelBPE(small().vocabulary, small().merges, **options)


def leaves(value):
    """The arrays and numbers in nested tuples, in order."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


def test_tables_are_written_once_and_read_as_they_were(folder):
    made = leaves(new()._encoder.tables)
    (path,) = folder.iterdir()
    written = path.stat().st_mtime_ns
    tables = new()._encoder.tables
    assert [type(part) for part in tables] == [type(part) for part in small()._encoder.tables]
    for one, other in zip(made, leaves(tables), strict=True):
        assert type(one) is type(other) and np.array_equal(one, other)
        assert not isinstance(other, np.ndarray) or (other.flags.aligned and other.flags.writeable)  # the types kernels have
    assert [path] == list(folder.iterdir()) and path.stat().st_mtime_ns == written
    assert new().encode(TEXT).tolist() == small().encode(TEXT).tolist()


@pytest.mark.parametrize("options", [{"pattern": "cl100k"}, {"ignore_merges": True}, {"pattern": "o200k"}])
def test_other_settings_have_other_tables(folder, options):
    assert new().encode(TEXT).tolist() == small().encode(TEXT).tolist()
    other = new(**options)
    assert other.encode(TEXT).tolist() == ByteLevelBPE(small().vocabulary, small().merges, **options).encode(TEXT).tolist()
    assert len(list(folder.iterdir())) == 2


def test_other_merges_have_other_tables(folder):
    """In another order too."""
    first, (*merges, one, other) = new().encode(TEXT), small().merges
    fewer = ByteLevelBPE(small().vocabulary, merges)
    assert len(fewer.encode(TEXT)) > len(first) and len(list(folder.iterdir())) == 2
    ByteLevelBPE(small().vocabulary, [*merges, other, one]).encode(TEXT)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", ["a bit", "half", "empty", "zeros", "sectors in another order", "others may write"])
def test_a_damaged_file_is_made_anew(folder, damage):
    new().encode(TEXT)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        content[len(content) // 2] ^= 1
    elif damage == "half":
        content = content[: len(content) // 2 // 512 * 512]
    elif damage == "sectors in another order":
        content[-1024:] = content[-512:] + content[-1024:-512]
    elif damage != "others may write":
        content = bytes(len(content) * (damage == "zeros"))
    path.write_bytes(content)
    if damage == "others may write":
        os.chmod(path, 0o666)
    assert table_files.read(str(path)) is None
    assert new().encode(TEXT).tolist() == small().encode(TEXT).tolist()
    assert table_files.read(str(path)) is not None


def test_other_source_code_has_other_tables(folder, tmp_path, monkeypatch):
    """That of Unicode's categories too, which is reached through functions whose results are kept."""
    new().encode(TEXT)
    package = shutil.copytree(os.path.dirname(table_files.__file__), tmp_path / "bpe", ignore=shutil.ignore_patterns("*.pyc"))
    real = table_files.sources_hash
    assert real(str(package)) == real(os.path.dirname(table_files.__file__))
    with open(package / "unicode16.py", "a") as file:
        file.write("RUNS += 'T'\n")
    real.cache_clear()
    monkeypatch.setattr(table_files, "sources_hash", lambda _: real(str(package)))
    new().encode(TEXT)
    assert len(list(folder.iterdir())) == 2


def test_a_file_that_is_shortened_leaves_tables_that_were_read(folder):
    """A mapped file would end the process."""
    new().encode(TEXT)
    (path,) = folder.iterdir()
    tokenizer = new()
    before = tokenizer._encoder.tables
    os.truncate(path, 0)
    assert tokenizer.encode(TEXT).tolist() == small().encode(TEXT).tolist()
    assert new()._encoder.tables is not before and path.stat().st_size > 0


def test_it_is_read_whatever_the_umask(folder):
    """Of a group's members too, whose files are the group's by default: no file of tables is."""
    before = os.umask(0o002)
    try:
        new().encode(TEXT)
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert table_files.read(str(path)) is not None


def test_small_vocabularies_are_not_kept(folder, monkeypatch):
    monkeypatch.setattr(table_files, "LEAST", small().vocab_size + 1)
    new().encode(TEXT)
    assert not folder.exists()


def test_short_texts_have_small_tables_until_there_were_many():
    """And their ids are the same before and after that, for more pieces than the small tables hold too."""
    small().encode(" " * 2 * thread_state.FEW_BYTES)  # has large ones
    tokenizer, rng, sizes = new(), np.random.default_rng(0), []
    for _ in range(12):
        text = " ".join("".join(rng.choice(list("etaoins漢"), rng.integers(1, 30))) for _ in range(600))
        ids = tokenizer.encode(text)
        (kept,) = tokenizer._encoder.states
        state = kept.values
        sizes.append(len(state.rows))
        assert ids.tolist() == small().encode(text).tolist()
        assert tokenizer.decode(ids) == text
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] == 1 << thread_state.ROW_BITS
    assert len(state.long_rows) == 1 << thread_state.LONG_ROW_BITS


def test_many_short_texts_come_to_large_tables():
    """Texts that one call encodes, with an array of its own for the ids of each."""
    tokenizer, words = new(), [*"etaoins", "the", "漢字", "I'm", "  "]
    rng, sizes, kept = np.random.default_rng(0), [], []
    for _ in range(2 * thread_state.FEW_BYTES // 400):
        text = " ".join(rng.choice(words, 200))[: thread_state.SHORT_TEXT]
        kept.append((text, tokenizer.encode(text)))
        sizes.append(len(tokenizer._encoder.states[0].values.rows))
    assert sizes[0] < sizes[-1] == 1 << thread_state.ROW_BITS and len(tokenizer._encoder.states) == 1
    assert all(tokenizer.decode(ids) == text for text, ids in kept)
