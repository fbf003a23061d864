"""`minilm train`: what it prints, and one line for whatever is wrong."""

import errno
import json
import os
import random
import subprocess
import sys
import time

import pytest

from minilm import cli, data, training

SMALL = ["--set", "model.hidden_size=10", "--set", "model.embedding_size=6", "--set", "batch=4", "--set", "time=16"]
SMALL += ["--set", "sample.tokens=20", "--steps", "6"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Every test in a folder of its own, with a text."""
    drawn = random.Random(2)
    (tmp_path / "book.txt").write_text("".join(drawn.choices("abcde \n", k=3000)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(capsys, *words, corpus="book.txt"):
    status = cli.main(["train", *(["--corpus", corpus] if corpus else []), *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def fails(capsys, *words, **options):
    """The one line that a command which cannot work prints."""
    before = everything()
    status, out, error = train(capsys, *words, **options)
    assert status == 2 and out == ""
    line = error.splitlines()[-1]
    assert line.startswith("minilm: ") and "Traceback" not in error
    assert everything() == before  # nothing was made, and nothing lost
    return line


def everything():
    found = {}
    for folder, _, names in os.walk("."):
        found[folder] = None
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(folder, name)] = file.read()
    return found


def test_what_it_prints(capsys):
    status, out, error = train(capsys, *SMALL)
    assert status == 0
    assert "text       book.txt: 3,000 characters, the last 300 for validation" in error.replace(os.getcwd() + "/", "")
    run = training.load_run("runs/book-lstm-1")
    loss = run.state.validation["loss"]
    lines = out.splitlines()
    assert f"validation  loss {loss:.4f} nats a character, perplexity {run.state.validation['perplexity']:.2f}" in out
    assert lines[-2].startswith("training    6 steps, ") and lines[-2].endswith(" characters/s")
    assert lines[-1] == "run         runs/book-lstm-1"
    with open("runs/book-lstm-1/sample.txt", encoding="utf-8", newline="") as file:
        assert out.startswith(file.read())


@pytest.mark.slow
def test_without_options_from_a_cold_cache(place):
    """A newcomer's first command: from compiling to a sample in less than 90 s on two cores."""
    environment = {**os.environ, "MINILM_CACHE": str(place / "cache")}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "minilm", "train"], env=environment, capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 90
    assert training.load_run("runs/stories-lstm-1").state.validation["loss"] < 0.9
    words = set("".join(data.text("stories")).split())
    written = done.stdout.split("validation  loss")[0].split()
    assert sum(word in words for word in written) > 0.6 * len(written)


def test_a_second_run_has_a_folder_of_its_own(capsys):
    for number in (1, 2):
        assert train(capsys, *SMALL, "--quiet")[0] == 0
        assert os.path.exists(f"runs/book-lstm-{number}/training.json")
    assert train(capsys, *SMALL, "--model", "gru")[0] == 0
    assert sorted(os.listdir("runs")) == ["book-gru-1", "book-lstm-1", "book-lstm-2"]


def test_quiet(capsys):
    assert train(capsys, *SMALL, "--quiet")[2] == ""


@pytest.mark.parametrize("model", ["rnn", "lstm", "gru"])
def test_models(model, capsys):
    assert train(capsys, *SMALL, "--model", model, "--seed", "3", "--out", "run")[0] == 0
    run = training.load_run("run")
    config = run.model.config
    assert (config.cell, config.hidden_size, config.embedding_size) == (model, 10, 6)  # what was set is what was trained
    assert run.model.parameters["recurrent.weight_hh_l0"].shape[1] == 10
    assert (run.config.seed, run.config.batch, run.config.time, run.state.step) == (3, 4, 16, 6)


def test_words(capsys):
    words = ["--recipe", "words", "--epochs", "1", "--set", "batch=2", "--set", "time=5", "--set", "sample.tokens=5"]
    status, out, _ = train(capsys, *words, "--set", "model.hidden_size=8", "--set", "model.embedding_size=8", "--out", "run")
    assert status == 0 and "nats a word, perplexity " in out and out.splitlines()[-2].endswith(" words/s")


def test_a_file_of_settings(capsys):
    with open("run.toml", "w") as file:
        file.write('steps = 4\nbatch = 3\ntime = 9\n[model]\ncell = "gru"\nhidden_size = 7\n[sample]\ntokens = 0\n')
    assert train(capsys, "--config", "run.toml", "--out", "run", "--set", "batch=2")[0] == 0
    config = training.load_run("run").config
    assert (config.steps, config.batch, config.time, config.model["hidden_size"]) == (4, 2, 9, 7)
    assert not os.path.exists("run/sample.txt")


def test_keys(capsys):
    status, out, _ = train(capsys, "--keys", "--recipe", "words", "--minutes", "2")
    assert status == 0 and not os.path.exists("runs")
    with open("all.toml", "w") as file:
        file.write(out)
    config = training.configuration(file="all.toml")  # the list is itself a file of settings
    assert config == training.configuration("words", options={"corpus": "book.txt", "minutes": 2.0})


def test_resume(capsys):
    assert train(capsys, *SMALL, "--out", "run")[0] == 0
    again = train(capsys, *SMALL, "--out", "run", "--resume")  # the same command line once more
    assert again[0] == 0 and "resumed    at step 6" in again[2]
    assert train(capsys, "--out", "run", "--resume", "--steps", "9", corpus=None)[0] == 0
    assert training.load_run("run").state.step == 9
    assert "model.cell is 'lstm' there, got 'gru'" in fails(capsys, "--out", "run", "--resume", "--model", "gru")
    assert "recipe is 'default' there, got 'words'" in fails(capsys, "--out", "run", "--resume", "--recipe", "words")
    assert "one of them" in fails(capsys, "--out", "run", "--resume", "--overwrite")
    assert "there is no folder none" in fails(capsys, "--out", "none", "--resume")
    line = fails(capsys, "--resume")
    assert "--resume needs --out DIR" in line and "newest" not in line
    assert train(capsys, *SMALL)[0] == 0
    assert fails(capsys, "--resume").endswith("the newest here is runs/book-lstm-1")


def test_overwrite(capsys):
    assert train(capsys, *SMALL, "--out", "run")[0] == 0
    assert "run holds training.json already: --resume goes on with a run, --overwrite replaces it" in fails(
        capsys, *SMALL, "--out", "run"
    )
    assert train(capsys, *SMALL, "--out", "run", "--overwrite", "--seed", "5")[0] == 0
    assert training.load_run("run").config.seed == 5


WRONG = [
    (["--steps", "5", "--minutes", "1"], "give one of them, got steps=5 and minutes=1.0"),
    (["--steps", "0"], r"steps must lie in [1, "),
    (["--minutes", "-1"], "minutes must lie in (0, inf), got -1.0"),
    (["--epochs", "nan"], "epochs must lie in"),
    (["--seed", "-1"], "seed must lie in"),
    (["--device", "cud"], "device must be one of"),
    (["--errors", "skip"], "errors must be one of 'strict', 'replace', 'ignore', got 'skip'"),
    (["--recipe", "wordz"], "there is no recipe 'wordz'; did you mean 'words'"),
    (["--set", "optimizer.lrr=1"], "unknown key 'optimizer.lrr' in the configuration: did you mean 'optimizer.lr'"),
    (["--model", "gpt", "--set", "n_layer=1"], "unknown key 'n_layer' in the configuration: did you mean 'model.n_layer'"),
    (["--set", "lr"], "--set wants KEY=VALUE"),
    (["--set", "model.dropout=1.5"], "dropout must lie in [0, 1), got 1.5"),
    (["--config", "none.toml"], "none.toml: No such file or directory"),
    (["--config", "book.txt"], "book.txt is not TOML"),
    (["--out", "book.txt"], "book.txt is a file, wanted a folder"),
    (["--out", "book.txt/run"], "book.txt/run: Not a directory"),
    (["--set", "time=5000"], "its part for training: the text has 2700 tokens"),
    (["--set", "validation=0.00001"], "1 token is too few to validate on"),
    (["--set", "sample.prompt=Z"], "sample.prompt: character 0: 'Z' (U+005A) is not in the vocabulary"),
]


@pytest.mark.parametrize("words, message", WRONG)
def test_wrong_options(words, message, capsys):
    assert message in fails(capsys, *words)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "text.txt is empty"),
        (b"x", "too few"),
        (b"abc" * 20, "its part for training: the text has 54 tokens; one window in each of batch=8 rows of time=64 needs"),
        (b"good text \xff bad" * 500, "invalid UTF-8 at byte 10 (0xff: invalid start byte)"),
        (b"\x1f\x8b\x08zipped", "compressed by gzip"),
    ],
)
def test_wrong_texts(content, message, capsys):
    with open("text.txt", "wb") as file:
        file.write(content)
    line = fails(capsys, corpus="text.txt")
    assert message in line and "text.txt" in line
    if "UTF-8" in message:
        assert "--errors replace" in line
        assert train(capsys, *SMALL, "--errors", "replace", "--out", "run", corpus="text.txt")[0] == 0
        assert "\ufffd" in training.load_run("run").tokenizer.vocabulary


def test_wrong_names(capsys):
    assert "there is no corpus 'storys'; did you mean 'stories'" in fails(capsys, corpus="storys")
    assert "there is no file none.txt" in fails(capsys, corpus="none.txt")
    os.mkdir("folder")
    assert "folder is a folder" in fails(capsys, corpus="folder")
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "--model", "lsmt"])
    assert exit.value.code == 2 and "did you mean 'lstm'" in capsys.readouterr().err


def test_a_damaged_run(capsys):
    assert train(capsys, *SMALL, "--out", "run")[0] == 0
    with open("run/optimizer.safetensors", "r+b") as file:
        file.truncate(100)
    assert "run/optimizer.safetensors is damaged or not of this run: 100 bytes, wanted the" in fails(
        capsys, "--out", "run", "--resume"
    )
    state = json.load(open("run/training.json"))
    state["step"] = 4
    json.dump(state, open("run/training.json", "w"))
    assert "training.json is damaged: its content does not fit its own checksum" in fails(capsys, "--out", "run", "--resume")


def test_a_loss_that_is_not_finite(capsys):
    status, out, error = train(capsys, *SMALL, "--out", "run", "--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e39")
    assert status == 2 and out == ""
    line = error.splitlines()[-1]
    assert line.startswith("minilm: ") and "first not finite is the" in line and "The checkpoint of step 0 in run is kept" in line
    assert training.load_run("run").state.step == 0


def test_a_full_disk(capsys, monkeypatch):
    assert train(capsys, *SMALL, "--out", "run")[0] == 0
    before = training.load_run("run").config

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, _, error = train(capsys, "--out", "run", "--resume", "--steps", "9", corpus=None)
    assert status == 2 and error.splitlines()[-1] == "minilm: run/log.csv: No space left on device"
    assert training.load_run("run").config == before
    assert training.load_run("run").state.step == 6
