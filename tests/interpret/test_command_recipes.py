"""`minilm explain` of the runs of `minilm recipe`: a page for each, and a line for what they cannot."""

import json

import numpy as np
import pytest

from minilm import cli
from minilm.recipes import registry, running
from minilm.recipes.base import Recipe
from tests.interpret import browser

TINY = {"steps": 2}
LABELS = ["--foil", "negative", "--answer", "positive"]
DATES = ["--foil", "2001-01-01", "--answer", "1999-05-02"]
MOVED = "Anna moved to the attic. Where is Anna?"
RUNS = {  # name -> recipe, settings, a text, other options of explain
    "tag": ("tag", {"hidden_size": 8, "embedding_size": 8, "character_size": 4}, "the cook ate soup", ["--foil", "O"]),
    "sentiment": ("sentiment", {"hidden_size": 8, "embedding_size": 8}, "a fine film", LABELS),
    "words": ("sentiment", {"model": "words", "buckets": 64}, "a fine film", []),
    "translate": ("translate", {"hidden_size": 16, "examples": 100}, "May 2, 1999", DATES),
    "transformer": ("translate", {"model": "transformer", "hidden_size": 16, "heads": 2, "examples": 100}, "May 2, 1999", []),
    "summarise": ("summarise", {"hidden_size": 16, "examples": 100, "vocab_size": 300}, "Storm hits the coast .", []),
    "extract": ("extract", {"hidden_size": 8, "embedding_size": 8, "examples": 40}, "Trains were late. It rained.", []),
    "intents": ("intents", {"hidden_size": 8, "embedding_size": 8}, "play some jazz", []),
    "pos": ("pos", {"hidden_size": 8, "embedding_size": 8}, "the cook ate soup", ["--foil", "NOUN"]),
    "roles": ("roles", {"hidden_size": 8, "embedding_size": 8}, "the cook *ate* soup", []),
    "memory": ("answer", {"examples": 200}, "Anna went to the attic. Where is Anna?", []),
    "reader": ("answer", {"model": "reader", "examples": 200, "hidden_size": 8}, MOVED, ["--foil", "attic."]),
    "vectors": ("vectors", {"steps": 1, "sentences": 300, "size": 8}, "the - it", []),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a run by its name, made once."""
    made = {}

    def folder(name):
        if name not in made:
            recipe, options, *_ = RUNS[name]
            made[name] = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:  # nobody looks at what so short a run reached
                patch.setattr(running, "_measured", lambda *_: None)
                patch.setattr(running.folder, "write_results", lambda *_, **__: None)
                registry.load(recipe)(**{**TINY, **options}).run(out=made[name], progress=False)
        return made[name]

    return folder


def run(capsys, *argv):
    status = cli.main(["explain", *map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("name", RUNS)
def test_each_recipes_run_is_explained(name, runs, tmp_path, capsys):
    *_, text, options = RUNS[name]
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    status, out, err = run(capsys, runs(name), "--text", text, "--out", page, "--json", numbers, *options)
    assert (status, err) == (0, "") and "decision" in out and f"wrote       {page}" in out
    data = json.loads(numbers.read_text())
    assert data["text"].lower() == text.lower() and len(data["decisions"][0]["values"]) == len(data["pieces"])
    assert data["answer"] in out and page.read_text().startswith("<!doctype html>")
    for decision in data["decisions"]:
        if decision["steps"]:
            difference = decision["output"] - decision["baseline"]
            assert np.sum(decision["values"]) == pytest.approx(difference + decision["error"], abs=1e-4)


def test_every_recipe_is_among_them():
    assert {recipe for recipe, *_ in RUNS.values()} == set(registry.RECIPES)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--corrupted", "x"], "--corrupted is for a language model"),
        (["--against", "x"], "--against is for a language model"),
        (["--along"], "--along follows a run of `minilm train`"),
        (["--steps", "9"], "--steps is for a language model"),
        (["--foil", "bad"], "there is no label 'bad'"),
        (["--answer", "positive", "--foil", "positive"], "another label"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(argv, says, runs, capsys):
    status, _, err = run(capsys, runs("words"), "--text", "a film", *argv)
    assert status == 2 and says in err and err.count("\n") == 1


def test_plots_of_decisions(runs, tmp_path, capsys):
    """What each piece did; the parts of a decision where it has some; where the model looked."""
    pytest.importorskip("matplotlib")
    for name, files in {"tag": {"decisions", "shares"}, "transformer": {"decisions", "looked"}}.items():
        status, out, _ = run(capsys, runs(name), "--text", RUNS[name][2], "--png", tmp_path / name)
        assert status == 0 and {path.stem for path in (tmp_path / name).iterdir()} == files
        assert all(path.read_bytes().startswith(b"\x89PNG") and str(path) in out for path in (tmp_path / name).iterdir())


def test_a_foil_that_every_word_has(runs, tmp_path, capsys):
    """It was replaced by the nearest tag in silence."""
    tags = json.loads((runs("tag") / "config.json").read_text())["facts"]["tags"]
    words = [runs("tag"), "--text", "the cook ate soup", "--json", tmp_path / "n.json", "--answer"]
    mixed = [*words, f"{tags[0]} {tags[1]} {tags[0]} {tags[1]}", "--foil", tags[1]]
    assert run(capsys, *mixed)[0] == 0
    decisions = json.loads((tmp_path / "n.json").read_text())["decisions"]
    assert [each["name"] for each in decisions] == ["the", "ate"] and {each["foil"] for each in decisions} == {tags[1]}
    status, _, err = run(capsys, *words, " ".join(tags[:1] * 4), "--foil", tags[0])
    assert status == 2 and f"another tag than the answer, got {tags[0]!r} for every word" in err and err.count("\n") == 1


def test_texts_that_cannot_be_explained(runs, capsys):
    for name, text, says in (
        ("tag", " ", "without a word"),
        ("extract", "It rained.", "there is no foil"),
        ("memory", "Where is Anna?", "a story and then a question"),
        ("reader", "Anna moved. Where is Anna?", "no part of the passage"),
        ("roles", "the the", "wanted one predicate, got 0"),
        ("vectors", "zzzz", "no vector of 'zzzz'"),
    ):
        more = ["--foil", "kitchen"] if name in ("reader", "extract") else []
        status, _, err = run(capsys, runs(name), "--text", text, *more)
        assert status == 2 and says in err and err.count("\n") == 1


@pytest.mark.skipif(browser.find() is None, reason="needs a Chromium")
def test_the_page_draws_itself(runs, tmp_path, capsys):
    sections = {
        "tag": ["decisions", "shares", "table"],
        "transformer": ["decisions", "table", "looked"],
        "memory": ["decisions", "shares", "looked"],
    }
    with browser.Page(width=400) as page:
        for name, expected in sections.items():
            path = tmp_path / f"{name}.html"
            assert run(capsys, runs(name), "--text", RUNS[name][2], "--out", path)[0] == 0
            page.open(path)
            assert page.complaints == []
            assert page.run("[...document.querySelectorAll('section')].map(s => s.id)") == expected
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
        page.open(tmp_path / "tag.html")
        before = page.run("document.getElementById('bar').textContent")
        page.click("#strip-decisions [data-t='2']")
        assert page.run("document.getElementById('bar').textContent") != before
        assert "3 of 4" in page.run("document.getElementById('bar').textContent")


def test_a_recipe_without_an_explanation_says_so():
    with pytest.raises(ValueError, match="no explanation"):
        Recipe().explain("a")
