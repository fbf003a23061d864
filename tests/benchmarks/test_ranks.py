"""Ranks by threads as a case of the suite `scaling`: what is measured, told, written and drawn; without starting any."""

import csv
import json

import pytest

from benchmarks import cases_ranks, ranks
from benchmarks.__main__ import main


def played(count, threads, steps):
    """Ranks of which each adds a tenth for communication."""
    step = 0.4 / (count * threads) * (1 + 0.1 * (count - 1))
    return ranks.Row(count, threads, step, step * 0.9, step * 0.1, 0.75, 3_000_000)


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(ranks, "measured", played)
    monkeypatch.setattr(ranks, "launcher", lambda: "mpiexec")
    monkeypatch.setattr(cases_ranks.devices, "threads", lambda: 4)


def test_layouts_fill_the_cores_and_no_more():
    assert cases_ranks.layouts(2) == [(2, 1), (1, 2), (1, 1)]
    assert cases_ranks.layouts(8)[:2] == [(4, 2), (2, 4)] and cases_ranks.layouts(1) == [(1, 1)]


def test_the_suite_measures_tells_writes_and_draws(four_cores, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    record, table, pictures = tmp_path / "r.json", tmp_path / "r.csv", tmp_path / "pictures"
    words = ["--quick", "--no-peers", "--json", str(record), "--csv", str(table), "--plot", str(pictures)]
    assert main(["scaling", "ranks", *words]) == 0
    (row,) = json.loads(record.read_text())["results"]
    assert set(row["samples"]) == {"minilm", "2x2", "1x4", "2x1", "1x2", "1x1"} and row["against"] == "1x1"
    assert row["ratios"]["1x1"]["median"] == pytest.approx(4 / 1.3, rel=1e-3)
    four = row["facts"]["4 ranks x 1 threads"]
    assert four["efficiency"] == pytest.approx(1 / 1.3, rel=1e-3) and four["communication waited for, part"] == 0.1
    slow, quick = (row["facts"][f"modelled, {name}"] for name in cases_ranks.NETWORKS)
    assert list(slow) == [str(2**power) for power in range(1, 11)] and all(slow[R] <= quick[R] <= 1 for R in slow)
    assert "    4 ranks x 1 threads: ms a step 130" in capsys.readouterr().out
    lines = list(csv.DictReader(table.open()))
    assert json.loads(lines[0]["facts"]) == row["facts"] and not lines[1]["facts"]
    assert (pictures / "ranks.png").stat().st_size > 1000 and not (pictures / "scaling.png").exists()


def test_without_mpiexec_the_row_says_so(four_cores, monkeypatch, capsys):
    monkeypatch.setattr(ranks, "launcher", lambda: None)
    assert main(["scaling", "ranks", "--quick", "--no-peers"]) == 0
    assert "there is no mpiexec: pip install" in capsys.readouterr().out
