"""What users of Unix tools expect: -, /dev/stdin and <(command) in the place of a file, texts from files, names of any bytes."""

import io
import json
import os
import sys
import threading

import pytest

from minilm import cli, data
from minilm.data.pipes import on_disk

TEXT = "the cat sat on the mat.\nthe dog sat on the log.\n" * 120
SMALL = ["--steps", "1", "--quiet"]
for _setting in ("model.hidden_size=8", "model.embedding_size=8", "batch=2", "time=16", "sample.tokens=2"):
    SMALL += ["--set", _setting]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text(TEXT)
    assert cli.main(["train", "--corpus", str(folder / "text.txt"), "--out", str(folder / "out"), *SMALL]) == 0
    return str(folder / "out")


@pytest.fixture
def stdin(monkeypatch):
    def give(content):
        content = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="utf-8"))

    return give


@pytest.fixture
def pipe():
    """What <(command) is: a path that can be read once."""
    opened = []

    def give(content):
        reading, writing = os.pipe()
        opened.append(reading)
        os.write(writing, content.encode())
        os.close(writing)
        return f"/dev/fd/{reading}"

    yield give
    for descriptor in opened:
        os.close(descriptor)


def corpus_of(folder) -> str:
    return json.loads(open(os.path.join(folder, "training.json"), "rb").read())["config"]["corpus"]


def test_a_corpus_that_comes_through_a_pipe(stdin, pipe, capsys):
    stdin(TEXT)
    assert cli.main(["train", "--corpus", "-", *SMALL]) == 0
    assert cli.main(["train", "--corpus", pipe(TEXT), "--out", "piped", *SMALL]) == 0
    (name,) = os.listdir("runs")
    assert name.startswith("stdin-") and os.path.isfile(corpus_of("piped"))
    more = ["train", "--out", "piped", "--resume", "--steps", "2", "--quiet"]
    assert cli.main(more) == 0  # the text is still there
    stdin(TEXT)
    assert cli.main([*more[:4], "--corpus", "-", "--steps", "3", "--quiet"]) == 0
    stdin(TEXT)
    assert cli.main(["evaluate", "piped", "--corpus", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("{")[2].join("{ "))["split"] == "validation"
    stdin("")
    assert cli.main(["train", "--corpus", "-", "--out", "none"]) == 2
    assert capsys.readouterr().err.endswith("minilm: the standard input is empty\n") and not os.path.exists("none")


def test_streams_are_kept_once_and_files_are_left_where_they_are(stdin, pipe, tmp_path):
    stdin(TEXT)
    kept = on_disk("-")
    assert open(kept).read() == TEXT and os.listdir(os.path.dirname(kept)) == [os.path.basename(kept)]
    assert on_disk(tmp_path) == str(tmp_path) and on_disk("not there") == "not there" and data.corpus("stories")
    (tmp_path / "text").write_text(TEXT)
    with open("text") as file:
        assert on_disk(f"/dev/fd/{file.fileno()}") == os.path.realpath("text")
    os.mkfifo("fifo")
    writer = threading.Thread(target=lambda: open("fifo", "w").write(TEXT))
    writer.start()
    assert open(on_disk("fifo")).read() == TEXT
    writer.join()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_texts_from_files_and_the_standard_input(run, stdin, pipe, capsys, mark, end):
    content = f"{mark}the c{end}"
    with open("prompt.txt", "wb") as file:
        file.write(content.encode())
    base = ["generate", run, "--tokens", "3", "--greedy"]
    given = []
    for options in (["--prompt", "the c"], ["--prompt-file", "prompt.txt"], ["--prompt-file", pipe(content)], ["--prompt", "-"]):
        stdin(content)
        assert cli.main([*base, *options]) == 0
        given.append(capsys.readouterr().out)
    assert given[0].startswith("the c") and given == given[:1] * 4


def test_one_text_and_a_right_one(run, stdin, capsys):
    for options, says in (
        (["--prompt", "a", "--prompt-file", "b"], "--prompt and --prompt-file both give the text"),
        (["--prompt", "caf\udce9"], "--prompt: not UTF-8 at character 3"),
        (["--prompt-file", "none"], "none: No such file"),
        (["--prompt-file", "latin"], "latin: byte 3 is not UTF-8"),
        (["--prompt", "-"], "the standard input: byte 1 is not UTF-8"),
    ):
        open("latin", "wb").write(b"caf\xe9")
        stdin(b"a\xff")
        assert cli.main(["generate", run, *options]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"minilm: {says}") and told.count("\n") == 1
    assert cli.main(["explain", run, "--text-file", "latin"]) == 2 and "latin: byte 3" in capsys.readouterr().err
    assert cli.main(["fill-mask", run, "--text-file", "latin"]) == 2 and "latin: byte 3" in capsys.readouterr().err
    assert cli.main(["fill-mask", run]) == 2 and "--text TEXT is missing" in capsys.readouterr().err
    stdin("the cat")
    assert cli.main(["tokenizer", "encode", run, "-"]) == 0
    dashed = capsys.readouterr().out
    assert cli.main(["tokenizer", "encode", run, "the cat"]) == 0 and capsys.readouterr().out == dashed


def test_paths_that_are_not_utf_8(capsys):
    name = os.fsdecode(b"caf\xe9.txt")
    with open(name, "w") as file:
        file.write(TEXT)
    assert cli.main(["train", "--corpus", name, "--out", "run", *SMALL]) == 0
    assert os.path.basename(corpus_of("run")) == name
    assert cli.main(["train", "--corpus", name, *SMALL]) == 0 and os.listdir("runs") == [f"{name[:-4]}-lstm-1"]
    assert cli.main(["train", "--out", "run", "--resume", "--steps", "2", "--quiet"]) == 0
    assert cli.main(["evaluate", "run"]) == 0
    assert cli.main(["train", "--corpus", name[:-1], "--out", "none"]) == 2


def test_choose_refuses_before_it_measures(monkeypatch, capsys):
    from minilm import planner

    monkeypatch.setattr(planner, "machine", lambda *_: pytest.fail("measured"))
    for more in ([], ["--examples", "3"], ["--data", "none.txt"]):
        assert cli.main(["choose", "sentimental", *more]) == 2
        assert "there is no task 'sentimental'; did you mean 'sentiment'?" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_under_the_standard_output_is_named(capsys, monkeypatch):
    full = open("/dev/full", "w")
    monkeypatch.setattr(sys, "stdout", full)
    assert cli.main(["corpus", "list"]) == 2
    monkeypatch.undo()
    full.close()  # nothing is left in it that cannot be written
    assert capsys.readouterr().err == "minilm: the standard output: No space left on device\n"
