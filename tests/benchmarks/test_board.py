"""The board: what is a row, which of two is better, and what a run writes."""

import json

import pytest

from benchmarks import board
from benchmarks.__main__ import main

ROW = {
    "task": "shakespeare", "minutes": 3, "title": "LSTM", "by": "somebody", "seeds": [0, 1, 2], "losses": [1.46, 1.47, 1.48],
    "processor": "a processor", "cores": 2, "commit": "27dc0d4", "date": "2026-11-29", "command": "minilm train",
    "pretrained": False, "dynamic": False,
}  # fmt: skip


def test_every_row_of_the_project_is_one():
    board.rows_of(board.ROWS)
    assert board.fault(ROW) is None
    assert set(board.COMMANDS) == set(board.TASKS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "chess"}, "task must be one of shakespeare"),
        ({"minutes": 4}, "minutes of shakespeare must be one of 3, 15, 60, got 4"),
        ({"cores": 4}, "cores must be 1 or 2, got 4"),
        ({"seeds": [0, 1], "losses": [1, 1]}, "seeds must be 3 different ones"),
        ({"seeds": [0, 1, 1]}, "seeds must be 3 different ones"),
        ({"losses": [1.4, 1.5]}, "one for each of 3 seeds, got 2"),
        ({"losses": [1.4, 1.5, float("nan")]}, "losses must be numbers"),
        ({"losses": [1.4, 1.5, -1]}, "losses must be numbers"),
        ({"commit": "main"}, "commit must be a hash"),
        ({"date": "yesterday"}, "date must be like"),
        ({"title": " "}, "title must not be empty"),
        ({"cores": "2"}, "cores must be int, got '2'"),
        ({"accuracy": 1}, "accuracy is no field"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_in_one_line(change, said, tmp_path, capsys):
    path = tmp_path / "row.json"
    path.write_text(json.dumps({**ROW, **change}))
    assert main(["board", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_missing_field_is_named():
    assert board.fault({name: value for name, value in ROW.items() if name != "seeds"}) == "seeds is missing"
    assert board.fault([]) == "wanted an object, got list"


def test_p_values_are_those_of_permutations():
    assert board.p_value([1, 2, 3], [4, 5, 6]) == pytest.approx(1 / 20)
    assert board.p_value([4, 5, 6], [1, 2, 3]) == 1.0
    assert board.p_value([1, 2, 3], [1, 2, 3]) > 0.5
    assert board.p_value(list(range(10)), list(range(20, 30))) < 1e-3  # drawn


def test_places_need_significance(tmp_path, monkeypatch, capsys):
    rows = [
        {**ROW, "title": title, "losses": losses}
        for title, losses in (("c", [1.5, 1.6, 1.7]), ("a", [1.1, 1.2, 1.3]), ("b", [1.15, 1.25, 1.35]))
    ]
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.json").write_text(json.dumps(row))
    monkeypatch.setattr(board, "ROWS", str(tmp_path))
    assert main(["board"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["a", "b", "c"]
    assert "1 (tie)" in lines[2] and "1 (tie)" in lines[3] and "tie" not in lines[4]
    assert main(["board", "check", str(tmp_path / "0.json")]) == 0
    assert "does not take the first place" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "shakespeare", "4"], "budgets of 3, 15, 60 minutes, got 4"),
        (["run", "chess", "3"], "wants TASK MINUTES"),
        (["run", "sst2", "3", "--corpora", "no/such/folder"], "sst2 is not here"),
        (["check"], "wants one FILE"),
        (["check", "no/such/row.json"], "No such file"),
    ],
)
def test_wrong_commands_end_with_2(arguments, said, capsys, monkeypatch):
    monkeypatch.delenv("MINILM_TEST_CORPORA", raising=False)
    assert main(["board", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_run_writes_a_row(tmp_path, monkeypatch, capsys):
    text = "the cat sat on the mat. " * 200
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    monkeypatch.setitem(board.COMMANDS, "shakespeare", [*board.COMMANDS["shakespeare"][:5], "--steps", "2", "--seed", "{seed}"])
    out = tmp_path / "row.json"
    sets = ["--set", "model.hidden_size=8", "--set", "batch=2", "--set", "time=8"]
    assert main(["board", "run", "shakespeare", "3", "--corpora", str(tmp_path), "--out", str(out), *sets]) == 0, (
        capsys.readouterr().err
    )
    row = json.loads(out.read_text())
    assert row["seeds"] == [0, 1, 2] and len(set(row["losses"])) == 3 and all(1 < loss < 4 for loss in row["losses"])
    assert "--set model.hidden_size=8" in row["command"] and board.fault({**row, "cores": 2, "commit": "1234567"}) is None


def test_sentiment_is_judged_on_the_development_part(tmp_path, monkeypatch, capsys):
    """The parts have opposite labels: what is learned from one is wrong on the other, and right on the rest of the first."""
    (tmp_path / "sst2").mkdir()
    for part, labels in (("train", (0, 1)), ("dev", (1, 0))):
        lines = [f"a bad film number {i}\t{labels[0]}\na good film number {i}\t{labels[1]}" for i in range(40)]
        (tmp_path / "sst2" / f"{part}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    command = ["recipe", "sentiment", "--data", "{corpus}", "--steps", "30", "--seed", "{seed}"]
    monkeypatch.setitem(board.COMMANDS, "sst2", command)
    sets = ["--set", "embedding_size=8", "--set", "hidden_size=8", "--set", "lr=0.02"]
    assert main(["board", "run", "sst2", "3", "--corpora", str(tmp_path), "--out", str(tmp_path / "row.json"), *sets]) == 0, (
        capsys.readouterr().err
    )
    assert min(json.loads((tmp_path / "row.json").read_text())["losses"]) > 0.5


def test_what_has_no_row_is_named_with_its_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(board, "ROWS", str(tmp_path))
    (tmp_path / "dynamic.json").write_text(json.dumps({**ROW, "minutes": 15, "dynamic": True}))
    (tmp_path / "row.json").write_text(json.dumps(ROW))
    assert main(["board"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line.split("board run ")[1].split(" --out")[0] for line in lines if "board run" in line]
    assert commands == ["shakespeare 15", "shakespeare 60", "words 3", "words 15", "words 60", "sst2 3", "sst2 15", "dates 3"]
    assert any(line.split()[-5:] == ["minutes", "on", "2", "quiet", "cores"] and " 45 " in line for line in lines)
