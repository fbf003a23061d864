"""Two records: what changed beyond noise, and the exit status."""

import copy
import json

import pytest

from benchmarks import compare, record
from benchmarks.__main__ import main


def row(name, seconds, ratio, spread=0.01, verdict="quiet"):
    around = lambda x: {"median": x, "low": x * (1 - spread), "high": x * (1 + spread)}  # noqa: E731
    return {
        **record.LACKING,
        "name": name,
        "samples": {"minilm": around(seconds), "torch": around(seconds * ratio)},
        "ratios": {"torch": around(ratio)},
        "conditions": {"verdict": verdict},
    }


def write(path, cpu="a processor", *rows, threads=2):
    machine = {"cpu": cpu, "threads": {"minilm": threads}}
    path.write_text(json.dumps({"machine": machine, "date": "2026-11-29", "commit": "c" * 40, "results": list(rows)}))
    return str(path)


@pytest.mark.parametrize(
    ("new", "verdict", "status"),
    [
        (row("a", 1.0, 2.0), "same", 0),
        (row("a", 2.0, 1.0), "slower", 1),
        (row("a", 0.5, 4.0), "faster", 0),
        (row("a", 1.04, 1.93), "same", 0),  # less than counts
        (row("a", 2.0, 1.0, spread=0.6), "same", 0),  # within the noise
        (row("a", 2.0, 2.0), "same", 0),  # the peer is slower too: the machine
        (row("a", 1.0, 1.0), "same", 0),  # the peer is faster, minilm the same
        (row("a", 2.0, 1.0, verdict="disturbed: others"), "disturbed", 0),
    ],
)
def test_changes(new, verdict, status, tmp_path, capsys):
    files = write(tmp_path / "a.json", "p", row("a", 1.0, 2.0)), write(tmp_path / "b.json", "p", new)
    assert main(["compare", *files, "--all"]) == status
    assert f"1 {verdict}" in capsys.readouterr().out.splitlines()[-1]


def test_different_processors_are_said_first_and_times_not_compared(tmp_path, capsys):
    files = write(tmp_path / "a.json", "p", row("a", 1.0, 2.0)), write(tmp_path / "b.json", "q", row("a", 9.0, 2.0))
    assert main(["compare", *files]) == 0
    assert capsys.readouterr().out.startswith("different processors")


def test_times_on_other_numbers_of_threads_are_not_compared(tmp_path, capsys):
    files = write(tmp_path / "a.json", "p", row("a", 1.0, 2.0)), write(tmp_path / "b.json", "p", row("a", 1.9, 1.0), threads=1)
    assert main(["compare", *files]) == 1  # by the ratio
    shown = capsys.readouterr().out
    assert shown.startswith("different numbers of threads") and "p, threads: 1" in shown and "runs a s" not in shown
    files = write(tmp_path / "a.json", "p", row("a", 1.0, 2.0)), write(tmp_path / "b.json", "p", row("a", 1.9, 2.0), threads=1)
    assert main(["compare", *files]) == 0


def test_a_row_that_failed_is_no_row_that_was_not_timed(tmp_path, capsys):
    wrong = {**record.LACKING, "name": "a", "error": "wrong results: 0.3"}
    rows = row("a", 1.0, 2.0), row("b", 1.0, 2.0), row("c", 1.0, 2.0)
    files = write(tmp_path / "a.json", "p", *rows), write(tmp_path / "b.json", "p", wrong, rows[1], row("d", 1.0, 2.0))
    assert main(["compare", *files]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 failed, 1 same, 1 in OLD alone, 1 in NEW alone" and any(line.startswith("a ") for line in lines)
    assert main(["compare", files[1], files[1]]) == 0  # it had failed before


def test_records_without_times_are_compared_by_ratios():
    old = {"machine": {}, "results": [row("a", 1.0, 2.0)]}
    new = copy.deepcopy(old)
    new["results"][0]["ratios"]["torch"] = {"median": 1.0, "low": 0.9, "high": 1.1}
    for content in (old, new):
        content["results"][0]["samples"] = {}
    assert compare.compared(old, new)[1]


def test_nothing_in_common_is_refused(tmp_path, capsys):
    files = write(tmp_path / "a.json", "p", row("a", 1, 2)), write(tmp_path / "b.json", "p", row("b", 1, 2))
    assert main(["compare", *files]) == 2
    assert "no row in common" in capsys.readouterr().err
