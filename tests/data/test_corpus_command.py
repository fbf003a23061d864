"""`minilm corpus`."""

import argparse
import json
import os

import pytest

from minilm import data
from minilm.cli import corpus


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "corpora"


def minilm(*words):
    parser = argparse.ArgumentParser()
    corpus.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["corpus", *words])
    return args.run(args)


def test_list(capsys):
    assert minilm("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("stories ") and "built in" in lines[1]
    assert any(line.startswith("tinyshakespeare") and "1,115,394" in line and "not here" in line for line in lines)
    assert minilm("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["names"]["state"] == "not here" and len(rows["names"]["sha256"]) == 64


def test_path(capsys):
    assert minilm("path", "stories") == 0
    assert os.path.isfile(capsys.readouterr().out.strip())
    with pytest.raises(ValueError, match="`minilm corpus fetch names`"):
        minilm("path", "names")
    with pytest.raises(ValueError, match="did you mean 'names'"):
        minilm("path", "name")


def test_check(capsys, cache):
    assert minilm("check") == 0
    assert capsys.readouterr().out.split()[:2] == ["stories", "ok"]
    assert minilm("check", "names") == 1
    assert "WRONG: missing" in capsys.readouterr().out
    cache.mkdir()
    (cache / "names.txt").write_text("emma\n")
    assert minilm("check") == 1
    assert "5 bytes, wanted 228,145" in capsys.readouterr().out
    assert minilm("list") == 0
    assert any(line.startswith("names") and "wrong" in line for line in capsys.readouterr().out.splitlines())


def test_fetch(capsys, monkeypatch):
    assert minilm("fetch", "stories") == 0
    assert "here already" in capsys.readouterr().out
    fetched = []
    monkeypatch.setattr(data, "fetch", fetched.append)
    with pytest.raises(ValueError, match="no corpus 'nmes'"):
        minilm("fetch", "names", "nmes")
    assert fetched == []  # a wrong name is told before anything is downloaded


@pytest.mark.parametrize("words", [[], ["fetch"], ["path"], ["remove", "names"]])
def test_usage(words, capsys):
    with pytest.raises(SystemExit) as exit:
        minilm(*words)
    assert exit.value.code == 2
