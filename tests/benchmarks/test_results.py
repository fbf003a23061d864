"""The table of results: what a record keeps, what the page says of it, and that nothing stands there that no record holds."""

import json
import os

import pytest

from benchmarks import published, results, results_page
from benchmarks.__main__ import main
from benchmarks.published import ROWS, Published, Row

TAGGED = "".join(f"{word} B-X\nis O\n\n" for word in ("Ada", "Bonn", "Rome", "Oslo") * 5)
ROW = Row(
    "a task", "some data", {"tags.txt": "tags.txt"}, published.recipe("tag", "--steps", "2"), {"f1": "F1"},
    (Published({"f1": 90.0}, "somebody's model", "a paper", "with more data"), Published({"f1": 99.5}, "another", "a page")),
)  # fmt: skip


@pytest.fixture
def one(tmp_path, monkeypatch):
    """A row of one's own, and its texts."""
    (tmp_path / "tags.txt").write_text(TAGGED)
    monkeypatch.setattr(results, "ROWS", {"mine": ROW})
    monkeypatch.setattr(results_page, "ROWS", {"mine": ROW})
    return tmp_path


def record_of(*values, name="f1", **more):
    run = {"steps": 1000, "seconds": 3.0, "cpu_seconds": 90.0, "threads": 1, "processor": "AMD EPYC", **more}
    runs = [{"seed": seed, "metrics": {name: value}, **run} for seed, value in enumerate(values)]
    return {"command": "minilm recipe tag", "runs": runs}


def test_a_run_is_kept_and_stands_on_the_page(one, capsys):
    arguments = ["--corpora", str(one), "--records", str(one / "records")]
    small = [word for key in ("hidden_size", "embedding_size", "character_size") for word in ("--set", f"{key}=4")]
    assert main(["results", "run", "mine", "--seeds", "1", "0", *arguments, *small]) == 0, capsys.readouterr().err
    record = json.loads((one / "records" / "mine.json").read_text())
    assert [run["seed"] for run in record["runs"]] == [0, 1] and record["runs"][0]["steps"] == 2
    assert record["command"].startswith("minilm recipe tag --data tags.txt --seed SEED --steps 2 --set hidden_size=4")
    assert set(record["runs"][0]["guesses"]) == {"f1"}
    assert {"f1", "precision"} <= set(record["runs"][0]["metrics"]) and record["runs"][0]["cpu_seconds"] > 0
    assert main(["results", "--records", str(one / "records"), "--out", str(one / "page.md")]) == 0
    page = (one / "page.md").read_text()
    mean = 50 * sum(run["metrics"]["f1"] for run in record["runs"])
    assert f"{mean:.2f} ± " in page and record["command"] in page
    # the same seed replaces its run, another command all of them
    assert main(["results", "run", "mine", "--seeds", "1", *arguments, *small]) == 0
    assert len(json.loads((one / "records" / "mine.json").read_text())["runs"]) == 2
    assert main(["results", "run", "mine", "--seeds", "1", *arguments]) == 0
    assert len(json.loads((one / "records" / "mine.json").read_text())["runs"]) == 1


def test_each_seed_stands_with_the_processor_that_it_ran_on(one):
    """Seeds of one command are one row, wherever they ran; a record from before runs named their processor names it once."""
    folder, record = str(one / "records"), record_of(0.95, 0.96, 0.97)
    for run in record["runs"]:
        del run["processor"]
    os.makedirs(folder)
    (one / "records" / "mine.json").write_text(json.dumps(record | {"processor": "AMD EPYC"}))
    elsewhere = {**record_of(0.94)["runs"][0], "processor": "AMD EPYC (znver3)", "cpu_seconds": 240.0, "steps": 2000}
    for seed in (3, 1):
        results.keep(folder, "mine", record["command"], elsewhere | {"seed": seed})
    kept = results.read(folder, "mine")
    assert [run["processor"] for run in kept["runs"]] == ["AMD EPYC", "AMD EPYC (znver3)"] * 2 and "processor" not in kept
    text = results_page.page({"mine": kept})
    assert "| 95.00 ± 1.41 | -4.50, **behind** | 4 | 1.5; 4.0 |" in text
    first, second = (
        "1,000 steps, seeds 0, 2, on 1 core of an AMD EPYC",
        "2,000 steps, seeds 1, 3, on 1 core of an AMD EPYC (znver3)",
    )
    assert f"`minilm recipe tag`; {first}; {second}\n" in text
    results.keep(folder, "mine", "minilm recipe tag --set precision=bf16", elsewhere)
    assert len(results.read(folder, "mine")["runs"]) == 1


def test_a_row_with_others_vectors_stands_below_its_task_and_names_their_file(one, monkeypatch, capsys):
    (one / "v.txt").write_text("ada 1 2\nis 3 4\n")
    below = ROW._replace(command=(*ROW.command, "--set", "vectors={vectors}"), task="with vectors", beside="mine")
    for module in (results, results_page):
        monkeypatch.setattr(module, "ROWS", {"mine": ROW, "theirs": below})
    arguments = ["results", "run", "theirs", "--corpora", str(one), "--records", str(one / "records")]
    assert main(arguments) == 2
    assert "theirs needs --others vectors=PATH" in capsys.readouterr().err
    assert main([*arguments, "--others", f"vectors={one / 'v.txt'}"]) == 0, capsys.readouterr().err
    record = results.read(one / "records", "theirs")
    assert record["command"].endswith("--set vectors=v.txt")
    text = results_page.page({"mine": None, "theirs": record})
    assert text.index("| a task |") < text.index("| with vectors |") and "  - published: as of mine" in text
    assert "with vectors" not in results_page.page({"mine": None, "theirs": None})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((), "|  | 90.00 somebody's model; 99.50 another | not measured yet |  |  |  |"),
        ((0.98,), "| 98.00 | -1.50, **behind** | 1 | 1.5 |"),
        ((0.996, 0.998, 0.997), "| 99.70 ± 0.10 | +0.20 | 3 | 1.5 |"),
    ],
)
def test_a_row_says_how_far_it_is_from_the_best(one, values, says):
    text = results_page.page({"mine": record_of(*values) if values else None})
    assert says in text
    assert "published, somebody's model: a paper (with more data)" in text and "published, another: a page\n" in text


def test_a_figure_of_other_data_is_named_and_not_the_measure(monkeypatch):
    row = ROW._replace(published=(*ROW.published, Published({"f1": 99.9}, "pretrained", "a page", aside=True)))
    monkeypatch.setattr(results_page, "ROWS", {"mine": row})
    text = results_page.page({"mine": record_of(0.996)})
    assert "99.90 pretrained | 99.60 | +0.10 |" in text


def test_less_is_better_where_a_row_says_so(monkeypatch):
    row = ROW._replace(lower=True, scale=1.0)
    monkeypatch.setattr(results_page, "ROWS", {"mine": row})
    text = results_page.page({"mine": record_of(95.0)})
    assert "| +5.00, **behind** |" in text  # 90 is the best of the published ones


def test_parts_have_a_table_and_their_mean_a_row(monkeypatch):
    files = {"1 one": "a.txt", "2 two": "b.txt"}
    other = Published({"f1": 75.0}, "theirs", "a page", parts=(50.0, 100.0))
    row = ROW._replace(files=files, archive="x.tar.gz", published=(other,))
    monkeypatch.setattr(results_page, "ROWS", {"mine": row})
    record = record_of(0.0)
    record["runs"][0] |= {"metrics": {"1 one f1": 0.4, "2 two f1": 0.8}, "guesses": {"1 one f1": 0.1, "2 two f1": 0.3}}
    text = results_page.page({"mine": record})
    assert "| 20.00 | 75.00 theirs | 60.00 | -15.00, **behind** |" in text
    assert "| 1 one | 50.00 | 40.00 | 40.00 |" in text and "| 2 two | 100.00 | 80.00 | 80.00 |" in text


def test_the_page_of_the_project_is_that_of_its_records():
    text = results_page.page({name: results.read(results.RECORDS, name) for name in ROWS})
    with open(results.PAGE, encoding="utf-8") as file:
        assert file.read() == text, "python -m benchmarks results"
    names = {name.removesuffix(".json") for name in os.listdir(results.RECORDS)}
    assert names <= set(ROWS), "a record without a row"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chess"], "invalid choice"),
        (["write", "chess"], "results takes run, list or nothing"),
        (["run", "chess", "--corpora", "."], "there is nothing to run for 'chess'"),
        (["run", "shakespeare", "--corpora", "."], "there is nothing to run for 'shakespeare'"),
        (["run", "chunking", "--corpora", "no/such/folder"], "train.txt.gz is not here"),
    ],
)
def test_wrong_arguments_end_with_2(arguments, says, capsys):
    try:
        status = main(["results", *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2 and says in capsys.readouterr().err


def test_every_row_can_be_run_and_published_parts_are_those_of_the_row():
    for name, row in ROWS.items():
        assert (row.board is not None) != bool(row.command), name
        assert not row.command or "{data}" in row.command and "{seed}" in row.command, name
        for each in row.published:
            assert set(each.figures) <= set(row.metrics) and type(each.aside) is bool, name
            assert len(each.parts) in (0, len(row.parts)), name
