"""`minilm explain`."""

import io
import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from minilm import cli, interpret
from tests.interpret.fakes import made


@pytest.fixture
def folder(tmp_path):
    def make(kind):
        model, tokenizer = made(kind, np.float32)
        path = tmp_path / kind
        path.mkdir()
        (path / "config.json").write_text(json.dumps(model.config.to_dict()))
        save_file(model.parameters.state_dict(), path / "model.safetensors")
        tokenizer.save(path)
        return path, model, tokenizer

    return make


def run(capsys, *argv):
    status = cli.main(["explain", *map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("kind", ["lstm", "gpt", "bert"])
def test_it_writes_what_was_asked_for(kind, folder, tmp_path, capsys):
    path, model, tokenizer = folder(kind)
    text = "abc dead" if kind == "bert" else "The cat "
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    status, out, err = run(
        capsys, path, "--text", text, "--out", page, "--json", numbers, "--png", tmp_path / "png", "--steps", 8
    )
    assert (status, err) == (0, "") and "within" in out and f"wrote       {page}" in out
    assert page.read_text().startswith("<!doctype html>") and (tmp_path / "png" / "surprisal.png").exists()
    wanted = interpret.explain(model, tokenizer, text, steps=8)
    assert json.loads(numbers.read_text()) == json.loads(wanted.to_json())
    assert ("without     traces" in out) == (kind != "lstm")


def test_the_page_is_the_default_and_text_may_come_from_the_standard_input(folder, tmp_path, capsys, monkeypatch):
    path, *_ = folder("gru")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("The mat."))
    assert run(capsys, path, "--text", "-")[0] == 0
    assert "The mat." in (tmp_path / "explain.html").read_text()
    status, out, _ = run(capsys, path, "--text", "The", "--json", "-", "--attribute", "last")
    found = json.loads(out)
    assert status == 0 and found["text"] == "The" and found["integrated_gradients"]["places"] == [3]


def test_published_weights(tmp_path, capsys):
    from minilm import models, tokenizers

    text = "The cat sat on the mat. " * 20
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(text, vocab_size=270)
    config = models.GPTConfig.gpt2(n_layer=2, n_head=2, n_embd=8, n_positions=16, vocab_size=tokenizer.vocab_size)
    models.GPT(config, seed=0).save_pretrained(tmp_path / "gpt")
    tokenizer.save(tmp_path / "gpt")
    status, out, err = run(capsys, "--weights", tmp_path / "gpt", "--text", "The cat sat é", "--out", tmp_path / "page.html")
    assert (status, err) == (0, "") and "predicted" in out
    assert "The cat sat" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["{run}"], "--text TEXT is missing"),
        (["--text", "a"], "either DIR"),
        (["{run}", "--weights", "{run}", "--text", "a"], "either DIR"),
        (["{run}", "--text", ""], "no token"),
        (["{run}", "--text", "é"], "é"),
        (["{run}", "--text", "a" * 2000], "2,000 tokens"),
        (["{run}", "--text", "a", "--steps", "0"], "steps"),
        (["{run}", "--text", "a", "--top", "0"], "top"),
        (["{run}", "--text", "a", "--out", "{run}/no/page.html"], "there is no folder"),
        (["{run}", "--text", "a", "--out", "{run}"], "is a folder, and a file is to be written"),
        (["{run}", "--text", "a", "--json", "{run}"], "is a folder, and a file is to be written"),
        (["{run}", "--text", "a", "--png", "{run}/config.json"], "config.json is a file, wanted a folder for the plots"),
        (["{run}", "--text", "a", "--out", "{run}/x", "--json", "{run}/./x"], "--out and --json both name"),
        (["{run}", "--along", "--out", "{run}"], "is a folder, and a file is to be written"),
        (["{run}/no", "--text", "a"], "no"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, says, folder, capsys):
    path, *_ = folder("lstm")
    status, _, err = run(capsys, *(word.replace("{run}", str(path)) for word in argv))
    assert status == 2 and says in err and err.count("\n") == 1


def test_missing_matplotlib_is_said_before_anything_is_written(folder, tmp_path, capsys, monkeypatch):
    path, *_ = folder("lstm")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = run(capsys, path, "--text", "a", "--out", tmp_path / "page.html", "--png", tmp_path / "plots")
    assert status == 2 and "pip install 'minilm[plots]'" in err and not list(tmp_path.glob("p*"))
