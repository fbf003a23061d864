"""Corpora by name: where they are found, and what is said when they are not."""

import hashlib
import os

import pytest

from minilm import data
from minilm.cache_folders import cache_folder
from minilm.data import manifest as module


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "corpora"


@pytest.fixture
def tiny(monkeypatch):
    """A manifest with a corpus of four bytes."""
    digest = hashlib.sha256(b"abcd").hexdigest()
    entry = data.Corpus("tiny", "tiny.txt", "http://127.0.0.1:9/tiny.txt", 4, digest, "none", "text", "four bytes")
    monkeypatch.setattr(module, "corpora", lambda: {"tiny": entry})
    return entry


def test_cache_folder(monkeypatch):
    assert cache_folder("corpora") == os.path.join(os.environ["MINILM_CACHE"], "corpora")
    monkeypatch.delenv("MINILM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == os.path.join("/somewhere", "minilm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == os.path.join("/home/somebody", ".cache", "minilm")


def test_paths_names_and_built_in(tmp_path, cache):
    assert os.path.basename(data.corpus("stories")) == "stories.txt"
    os.mkdir("stories")  # such as the folder of a run: the name goes before
    assert os.path.isfile(data.corpus("stories"))
    mine = tmp_path / "mine"
    mine.write_text("text")
    assert data.corpus("mine") == "mine" and data.corpus(mine) == str(mine)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder is a folder"):
        data.corpus("folder")
    with pytest.raises(ValueError, match="there is no corpus 'tinyshakespear'; did you mean 'tinyshakespeare'?"):
        data.corpus("tinyshakespear")
    with pytest.raises(ValueError, match="there is no corpus 'qqq'; there are stories, "):
        data.corpus("qqq")
    for path in ("folder/none", "none.txt", tmp_path / "none"):
        with pytest.raises(ValueError, match="there is no file"):
            data.corpus(path)
    assert not cache.exists()  # looking for something makes no folders


def test_a_file_in_the_cache_is_checked(tiny, cache):
    with pytest.raises(ValueError, match=r"tiny is not here yet: `minilm corpus fetch tiny`, or get http.* put it at .*tiny.txt"):
        data.corpus("tiny")
    cache.mkdir(parents=True)
    for content, fault in ((b"abcde", "5 bytes, wanted 4"), (b"abcx", "sha256 .*, wanted ")):
        (cache / "tiny.txt").write_bytes(content)
        with pytest.raises(ValueError, match=f"tiny.txt is not tiny .{fault}"):
            data.corpus("tiny")
    (cache / "tiny.txt").write_bytes(b"abcd")
    assert data.corpus("tiny") == str(cache / "tiny.txt")


def test_a_missing_installation_is_told(monkeypatch):
    module.builtin_folder.cache_clear()
    monkeypatch.setattr(module.os.path, "isfile", lambda path: False)
    with pytest.raises(FileNotFoundError, match="install minilm again"):
        module.builtin_folder()


def test_real_texts_match_the_manifest():
    """The files at hand, where there are any, are those of the manifest."""
    folder = os.environ.get("MINILM_TEST_CORPORA")
    if not folder:
        pytest.skip("MINILM_TEST_CORPORA names no folder with the public texts")
    checked = 0
    for entry in data.corpora().values():
        for name in (entry.file, entry.file.replace("multi30k.", "multi30k/")):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                assert (os.path.getsize(path), module.file_hash(path)) == (entry.bytes, entry.sha256)
                checked += 1
    assert checked >= 4
    text = data.text(os.path.join(folder, "tinyshakespeare.txt"))
    train, validation = text.split(0.1)
    assert (train.length, validation.length) == (1_003_854, 111_540)
