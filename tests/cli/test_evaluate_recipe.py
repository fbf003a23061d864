"""`minilm evaluate` of a recipe's run."""

import json
import pathlib

import pytest

from minilm import cli, recipes
from minilm.recipes import folder as files

GOOD, BAD = ("a fine film", "a warm tale", "what fun"), ("a dull film", "a cold tale", "what a bore")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with labelled texts and a run on them, and what the run measured."""
    place = tmp_path_factory.mktemp("recipe")
    rows = [f"{text}\t{label}\n" for pair in zip(GOOD, BAD, strict=True) for text, label in zip(pair, "10", strict=True)] * 7
    (place / "reviews.tsv").write_text("sentence\tlabel\n" + "".join(rows))
    (place / "parts").mkdir()
    (place / "parts" / "train.tsv").write_text("sentence\tlabel\n" + "".join(rows[:6]))
    (place / "parts" / "dev.tsv").write_text("sentence\tlabel\n" + "a fine tale\t1\nwhat a dull bore\t1\n")
    patch = pytest.MonkeyPatch()
    patch.setattr(files, "_plot", lambda *_: None)
    result = recipes.load("sentiment")(model="words", steps=20).run(place / "reviews.tsv", out=place / "run", progress=False)
    patch.undo()
    return place, result


@pytest.fixture
def place(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    return trained[0]


def evaluate(capsys, *words):
    status = cli.main(["evaluate", *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_it_is_what_training_measured(place, trained, capsys):
    status, out, _ = evaluate(capsys, "run", "--json")
    measured, result = json.loads(out), trained[1]
    assert status == 0 and measured["metrics"] == result.metrics and measured["chance"] == result.chance
    assert (measured["recipe"], measured["split"], measured["examples"]) == ("sentiment", "validation", 4)
    out = evaluate(capsys, "run")[1]
    assert f"{place / 'reviews.tsv'}, validation: 4 examples" in out
    assert f"accuracy      {result.metrics['accuracy']:.4f}   (a guess: {result.chance:.4f})" in out


def test_other_parts_and_other_data(place, capsys):
    recipe = recipes.open_run("run")
    for words, split, examples in (
        (["--split", "train"], "train", 38),
        (["--split", "all"], "all", 42),
        (["--data", "parts/dev.tsv"], "all", 2),
        (["--data", "parts"], "validation", 2),
        (["--data", "parts", "--split", "all"], "all", 8),
    ):
        measured = json.loads(evaluate(capsys, "run", *words, "--json")[1])
        assert (measured["split"], measured["examples"]) == (split, examples)
    wrong = recipe.evaluate(recipe.read(place / "parts")[1])
    assert wrong["accuracy"] < 1 and json.loads(evaluate(capsys, "run", "--data", "parts", "--json")[1])["metrics"] == wrong


def test_built_in_data_are_made_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(files, "_plot", lambda *_: None)
    recipe = recipes.load("vectors")(steps=1, sentences=300, size=4)
    result = recipe.run(out=tmp_path / "run", seed=3, progress=False)
    measured = json.loads(evaluate(capsys, str(tmp_path / "run"), "--json")[1])
    assert measured["metrics"] == result.metrics and measured["data"] == "the built-in data"
    status, _, error = evaluate(capsys, str(tmp_path / "run"), "--split", "train")
    assert status == 2 and "nothing of its part 'train' can be measured" in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--corpus", "reviews.tsv"], "--corpus is for language models, and run holds a recipe's run; --data PATH"),
        (["--lines"], "--lines is for language models"),
        (["--errors", "ignore"], "--errors is for language models"),
        (["--dynamic"], "--dynamic is for language models"),
        (["--dynamic-lr", "0.1"], "--dynamic-lr is for --dynamic"),
        (["--data", "nowhere.tsv"], "nowhere.tsv"),
    ],
)
def test_what_is_refused(place, capsys, words, says):
    status, _, error = evaluate(capsys, "run", *words)
    assert status == 2 and says in error and error.count("\n") == 1


def test_data_that_have_changed_are_not_the_runs(place, capsys):
    path = pathlib.Path("reviews.tsv")
    before = path.read_text()
    path.write_text(before.replace("fine", "fair"))
    status, _, error = evaluate(capsys, "run")
    path.write_text(before)
    assert status == 2 and "are not the examples that run was trained on" in error and "--data PATH names others" in error
