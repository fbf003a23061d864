"""`minilm evaluate`."""

import json
import os
import random
import shutil
import sys

import pytest

from minilm import cli, data, devices, training
from tests.ops import gpu


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text and a run on it."""
    place = tmp_path_factory.mktemp("evaluate")
    (place / "book.txt").write_text("".join(random.Random(2).choices("abcdé \n", k=3000)), encoding="utf-8")
    options = {"corpus": str(place / "book.txt"), "steps": 5, "batch": 4, "time": 16, "sample": {"tokens": 0}}
    options["model"] = {"hidden_size": 9, "embedding_size": 5}
    training.train(training.configuration(options=options), out=place / "run")
    return place


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def evaluate(capsys, *words):
    status = cli.main(["evaluate", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_it_is_the_number_that_training_printed(place, capsys):
    state = training.load_run("run").state
    status, out, _ = evaluate(capsys, "run", "--json")
    found = json.loads(out)
    assert status == 0
    assert {name: found[name] for name in ("loss", "perplexity", "bits_per_character", "tokens", "characters")} == {
        name: state.validation[name] for name in ("loss", "perplexity", "bits_per_character", "tokens", "characters")
    }
    assert found["split"] == "validation" and found["step"] == 5
    status, out, _ = evaluate(capsys, "run")
    assert f"loss        {found['loss']:.4f} nats a character" in out and f"{found['tokens']:,} characters predicted" in out


def test_data_are_for_recipes(place, capsys):
    status, _, error = evaluate(capsys, "run", "--data", "book.txt")
    assert status == 2 and "--data is for a recipe's run, and run holds none; a text is --corpus" in error


def test_splits(place, capsys):
    run, text = training.load_run("run"), data.text("book.txt")
    train, validation = text.split(0.1)
    for split, part in (("all", text), ("train", train), ("validation", validation)):
        found = json.loads(evaluate(capsys, "run", "--split", split, "--json")[1])
        assert found["loss"] == training.evaluate_text(run.model, run.tokenizer, part).loss
        assert found["tokens"] == part.length - 1


def test_another_text(place, tmp_path, capsys):
    path = tmp_path / "other.txt"
    path.write_text("dab a cab\n" * 40, encoding="utf-8")
    found = json.loads(evaluate(capsys, "run", "--corpus", path, "--json")[1])
    assert (found["split"], found["tokens"]) == ("all", 399)
    assert json.loads(evaluate(capsys, "run", "--corpus", path, "--json", "--split", "validation")[1])["tokens"] == 39
    copy = shutil.copy("book.txt", tmp_path / "copy.txt")  # its own text under another name
    assert json.loads(evaluate(capsys, "run", "--corpus", copy, "--json")[1])["split"] == "validation"


def fails(capsys, *words):
    status, out, error = evaluate(capsys, *words)
    assert status == 2 and out == "" and len(error.splitlines()) == 1
    return error


def test_what_is_wrong_is_said_in_one_line(place, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("a cab\nfor zoë", encoding="utf-8")
    assert "text.txt, character 6: 'f' (U+0066) is not in the vocabulary" in fails(capsys, "run", "--corpus", path)
    path.write_bytes(b"ab\xff")
    assert "invalid UTF-8 at byte 2" in fails(capsys, "run", "--corpus", path)
    path.write_bytes(b"")
    assert "text.txt is empty" in fails(capsys, "run", "--corpus", path)
    path.write_bytes(b"a")
    assert "has 1 token, and to predict one needs at least 2" in fails(capsys, "run", "--corpus", path)
    assert "there is no folder none" in fails(capsys, "none")
    assert "there is no run in" in fails(capsys, tmp_path)
    assert "there is no corpus 'storys'; did you mean 'stories'" in fails(capsys, "run", "--corpus", "storys")


def test_a_model_without_a_run(place, tmp_path, capsys):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(f"run/{name}", tmp_path)
    assert "--corpus FILE|NAME" in fails(capsys, tmp_path)
    own = json.loads(evaluate(capsys, "run", "--split", "all", "--json")[1])
    assert json.loads(evaluate(capsys, tmp_path, "--corpus", "book.txt", "--json")[1])["loss"] == own["loss"]


def test_a_text_that_has_changed(place, tmp_path, capsys):
    shutil.copytree("run", tmp_path / "run")
    shutil.copy("book.txt", tmp_path / "book.txt")
    config = training.load_run("run").config.replace(corpus=str(tmp_path / "book.txt"))
    training.train(config, out=tmp_path / "run", resume=True)
    with open(tmp_path / "book.txt", "a", encoding="utf-8") as file:
        file.write("abc")
    assert "book.txt is no longer the text that" in fails(capsys, tmp_path / "run")
    os.remove(tmp_path / "book.txt")
    assert "there is no file" in fails(capsys, tmp_path / "run")


def test_on_a_gpu(place, capsys):
    wanted = json.loads(evaluate(capsys, "run", "--json")[1])
    with gpu.emulated():
        found = json.loads(evaluate(capsys, "run", "--json", "--device", "cuda")[1])
    assert found["tokens"] == wanted["tokens"] and found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


def test_without_a_gpu_one_line_says_what_is_missing(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.gpu_status.cache_clear()
    status, out, err = evaluate(capsys, "run", "--device", "cuda")
    devices.gpu_status.cache_clear()
    assert (status, out, err.count("\n")) == (2, "", 1) and "--device cuda: no GPU can be used: CuPy" in err


def test_rounded_weights(place, capsys):
    """Each format gives another number, close to the run's own; on a GPU there is none."""
    losses = []
    for words in ((), ("--quantize", "bf16"), ("--quantize", "int8")):
        status, out, _ = evaluate(capsys, "run", "--json", *words)
        assert status == 0
        losses.append(json.loads(out)["loss"])
    assert len(set(losses)) == 3 and max(losses) - min(losses) < 0.01
    status, _, err = evaluate(capsys, "run", "--quantize", "int8", "--device", "cuda")
    assert status == 2 and err.count("\n") == 1


def test_dynamic_evaluation_stands_by_itself(place, capsys):
    plain, dynamic = (json.loads(evaluate(capsys, "run", *words, "--json")[1]) for words in ([], ["--dynamic"]))
    assert plain["dynamic"] is False and dynamic["dynamic"] is True and dynamic["loss"] != plain["loss"]
    assert json.loads(evaluate(capsys, "run", "--dynamic", "--dynamic-lr", 1, "--json")[1])["loss"] != dynamic["loss"]
    assert f"loss        {dynamic['loss']:.4f} nats a character, by dynamic evaluation" in evaluate(capsys, "run", "--dynamic")[1]
    assert json.loads(evaluate(capsys, "run", "--json")[1]) == plain
    assert "--dynamic-lr is for --dynamic" in fails(capsys, "run", "--dynamic-lr", 0.1)
    assert "--quantize int8 has none" in fails(capsys, "run", "--dynamic", "--quantize", "int8")
    assert "--dynamic is for language models" in fails(capsys, "run", "--dynamic", "--lines")
