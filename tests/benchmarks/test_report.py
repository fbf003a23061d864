"""What is written: table, JSON, CSV, plot, verdicts, and no absolute times."""

import csv
import json

import numpy as np
import pytest

from benchmarks import report
from benchmarks.case import Case, Result, WrongResult, compare, measure
from benchmarks.machine import Machine
from benchmarks.timing import Contestant, Spread

MACHINE = Machine(
    cpu="a processor",
    cores=2,
    threads={"minilm": 2},
    blas="a library",
    versions={"Python": "3"},
    matmul=1e11,
    bandwidth=1e10,
    peer="torch 2",
)


def result(name="lstm B 1", torch=1.5, target=1.0):
    made = Result(
        name, "ops", "lstm", {"torch": Spread(torch, torch - 0.1, torch + 0.1)}, (1e9, 1e6), [0.02, 0.02], target=target
    )
    made.hold_against(MACHINE)
    return made


def test_table_is_aligned_and_judges():
    results = [result(), result("a longer name than that", torch=0.9), result("untargeted", target=None)]
    lines = report.table(results)
    assert "1.50 [1.40-1.60]" in lines[2] and "reached (>= 1.00)" in lines[2] and "50% matmul" in lines[2]
    assert "MISSED (>= 1.00)" in lines[3]
    assert "reached" not in lines[4] and "MISSED" not in lines[4]
    columns = {line.index("1.50 [") + len("1.50 [1.40-1.60]") for line in (lines[2], lines[4])}
    assert columns == {lines[0].index("torch") + len("torch")}  # right edges in one column
    assert report.summary(results) == "targets reached: 1 of 2; missed: a longer name than that"


def test_roof_is_the_longer_of_arithmetic_and_traffic():
    assert MACHINE.bound(1e9, 1e6) == "matmul" and MACHINE.bound(1e6, 1e9) == "bandwidth"
    assert MACHINE.roof_seconds(1e9, 1e6) == pytest.approx(0.01) and MACHINE.roof_seconds(1e6, 1e9) == pytest.approx(0.1)
    assert result().roof.median == pytest.approx(0.5)


def test_a_target_without_its_peer_is_not_judged():
    alone = Result("lstm", "ops", "lstm", {"oracle": Spread(9, 8, 10)}, target=1.0)
    assert alone.reached is None and "no peer" in report.verdict(alone)
    assert report.summary([alone]) == "no target was judged"


def test_json_and_csv_hold_ratios_and_no_times(tmp_path):
    results = [result(), Result("broken", "ops", "gru", error="failed: ValueError: no")]
    report.write_json(tmp_path / "run.json", MACHINE, results)
    report.write_csv(tmp_path / "run.csv", results)
    read = json.loads((tmp_path / "run.json").read_text())
    assert read["machine"]["cpu"] == "a processor" and read["results"][0]["ratios"]["torch"]["median"] == 1.5
    assert read["results"][0]["reached"] is True and read["results"][1]["error"] == "failed: ValueError: no"
    assert "seconds" not in (tmp_path / "run.json").read_text()
    rows = list(csv.DictReader((tmp_path / "run.csv").open()))
    assert rows[0]["torch_median"] == "1.5" and rows[0]["oracle_median"] == "" and rows[1]["error"]
    assert len(rows) == 2 and not any("second" in column for column in rows[0])


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    path = report.plot(str(tmp_path), MACHINE, [result(), result("other", target=None)])
    assert path.endswith("benchmarks.png") and (tmp_path / "benchmarks.png").stat().st_size > 1000


def contestants(*values):
    return [
        Contestant(name, lambda v=v: v, lambda v: [v]) for name, v in zip(("minilm", "oracle", "torch"), values, strict=False)
    ]


def test_what_agrees_is_timed():
    x = np.array([1.0, -2.0])
    compare(contestants(x, x, x * (1 + 1e-6)))


@pytest.mark.parametrize(
    "wrong", [np.array([1.0, -1.9]), np.array([1.0, np.nan]), np.zeros(2), np.array([1.0]), np.array([[1.0, -2.0]])]
)
def test_what_disagrees_is_not_timed(wrong):
    x = np.array([1.0, -2.0])
    with pytest.raises(WrongResult, match="torch"):
        compare(contestants(x, x, wrong))
    with pytest.raises(WrongResult, match="minilm"):
        compare(contestants(wrong, x))
    ran = measure(Case("c", "ops", "c", lambda torch: contestants(wrong, x)), seconds=0.01, quick=True)
    assert ran.error.startswith("wrong result") and not ran.ratios and not ran.seconds


def test_a_broken_case_costs_itself_only():
    def build(torch):
        raise RuntimeError("no such kernel")

    assert measure(Case("c", "ops", "c", build), seconds=0.01, quick=True).error == "failed: RuntimeError: no such kernel"
