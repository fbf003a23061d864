"""What is printed and written: lines, records, CSV, verdicts; what is compared before it is timed."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest

from benchmarks import cases_generation, peers, record, report
from benchmarks.case import Case, Result, Unavailable, WrongResult, compare, measure
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
    peak=2e11,
    levels=[(1 << 15, 1e11), (1 << 28, 1e10)],
)


def row(name="lstm B 1", torch=1.5, target=1.0, **more):
    case = Case(name, "ops", "lstm", lambda peers: [], flops=2e9, moved=1e6, tokens=10, target=target, **more)
    ratios = {"torch": Spread(torch, torch - 0.1, torch + 0.1)} if torch else {}
    result = Result(case, ratios, {"minilm": [0.02, 0.02], "torch": [0.03, 0.03]}, target=target)
    result.hold_against(MACHINE)
    return record.row(result)


def test_lines_are_aligned_and_judge():
    rows = [row(), row("a longer name than that", torch=0.9), row("untargeted", target=None)]
    table = report.Table([each["name"] for each in rows])
    lines = [*table.head(), *(table.row(each) for each in rows)]
    assert "torch 1.50 [1.40-1.60]" in lines[2] and "reached (>= 1.00)" in lines[2] and "50% arithmetic" in lines[2]
    assert "MISSED (>= 1.00)" in lines[3]
    assert "reached" not in lines[4] and "MISSED" not in lines[4]
    assert len({line.index("torch ") for line in (lines[2], lines[4])} | {lines[0].index(report.TIMES)}) == 1
    assert report.summary(rows)[0] == "targets reached: 1 of 2; missed: a longer name than that"


def test_the_gauge_shows_peer_and_own_before_the_roof():
    line = report.gauge(row())
    assert line.index("p") < line.index("M") < line.index("|") == report.GAUGE - 1


def test_roof_is_the_longer_of_arithmetic_and_traffic():
    assert MACHINE.roof(2e9, 1e6) == (pytest.approx(0.01), "arithmetic")
    assert MACHINE.roof(1e3, 1e9) == (pytest.approx(0.1), "memory")
    assert MACHINE.roof(1e3, 1e5) == (pytest.approx(1e-6), "cache")  # a working set of 25 kB
    assert MACHINE.roof(1e3, 1e5, working=1e6)[1] == "memory"


def test_no_share_above_the_roof_is_shown():
    over = row()
    over["roof"] = {"median": 2.31, "low": 2.3, "high": 2.4}
    assert "%" not in report.share(over) and report.share(over) == "over arithmetic?"


def test_a_causal_mask_halves_the_work():
    from benchmarks import cases_ops

    assert cases_ops.share_seen({"Tq": 1000, "Tk": 1000}, {"sees": "causal"}) == pytest.approx(0.5, abs=1e-3)
    assert cases_ops.share_seen({"Tq": 1, "Tk": 1000}, {"sees": "causal"}) == 1.0
    assert cases_ops.share_seen({"Tq": 4, "Tk": 4}, {}) == 1.0
    cases = {case.name: case for case in cases_ops.cases()}
    whole, causal = (cases[f"attention{sees} B 4 Tq 1,024 Tk 1,024 H 6 K 64 Kv 64"] for sees in ("", " sees=causal"))
    assert 0.5 < causal.flops / whole.flops < 0.51


def test_a_target_without_its_peer_is_not_judged():
    alone = row(torch=None)
    assert alone["reached"] is None and "no peer" in report.verdict(alone)
    assert report.summary([alone]) == ["no target was judged"]


def test_records_hold_times_rates_and_conditions(tmp_path):
    writer = record.Writer(str(tmp_path / "run.json"), MACHINE)
    writer.add(row())
    read = json.loads((tmp_path / "run.json").read_text())
    (written,) = read["results"]
    assert read["machine"]["cpu"] == "a processor" and read["commit"] and written["ratios"]["torch"]["median"] == 1.5
    assert written["reached"] is True and written["samples"]["minilm"] == {"median": 0.02, "low": 0.02, "high": 0.02, "rounds": 2}
    assert written["rates"] == {"GFLOP/s": 100, "GB/s": 0.05, "tokens/s": 500} and written["conditions"]["verdict"] == "quiet"
    writer.add(row(torch=3.0))  # of the same name: replaced
    assert [each["ratios"]["torch"]["median"] for each in record.read(str(tmp_path / "run.json"))["results"]] == [3.0]


def test_resume_refuses_another_processor(tmp_path):
    path = str(tmp_path / "run.json")
    record.Writer(path, MACHINE).write()
    with pytest.raises(ValueError, match="another processor"):
        record.Writer(path, dataclasses.replace(MACHINE, cpu="another"), resume=True)
    with pytest.raises(ValueError, match="another processor"):  # of the same name, as virtual machines give it
        record.Writer(path, dataclasses.replace(MACHINE, kind="znver3, 256-bit vectors"), resume=True)
    with pytest.raises(ValueError, match="is of 2 threads: --resume adds to rows of as many alone"):
        record.Writer(path, dataclasses.replace(MACHINE, threads={"minilm": 1}), resume=True)


def test_resume_remembers_that_sources_were_changed(tmp_path, monkeypatch):
    path = str(tmp_path / "run.json")
    for changed in (True, False):
        monkeypatch.setattr(record, "commit", lambda changed=changed: {"commit": "c" * 40, "changed": changed})
        writer = record.Writer(path, MACHINE, resume=True)
        writer.write()
    assert writer.content["changed"]


def test_older_records_are_read(tmp_path):
    old = {"name": "bpe stories, cold", "ratios": {"tiktoken": [9.0, 8.0, 10.0]}, "MB/s": 50.0}
    path = tmp_path / "2026-11-25-epyc-tokenizers.json"
    path.write_text(json.dumps([old]))
    content = record.read(str(path))
    assert content["date"] == "2026-11-25" and content["results"][0]["ratios"]["tiktoken"]["median"] == 9.0
    assert report.Table(["x"]).row(content["results"][0])
    for wrong in ("[", "3", "{}"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="is no record"):
            record.read(str(path))


def contestants(*values):
    return [
        Contestant(name, lambda v=v: v, lambda v: [v]) for name, v in zip(("minilm", "oracle", "torch"), values, strict=False)
    ]


def test_what_agrees_is_timed():
    x = np.array([1.0, -2.0])
    assert compare(contestants(x, x, x * (1 + 1e-6))) == {}


@pytest.mark.parametrize(
    "wrong", [np.array([1.0, -1.9]), np.array([1.0, np.nan]), np.zeros(2), np.array([1.0]), np.array([[1.0, -2.0]])]
)
def test_what_disagrees_is_not_timed(wrong):
    x = np.array([1.0, -2.0])
    with pytest.raises(WrongResult, match="torch"):
        compare(contestants(x, x, wrong))
    with pytest.raises(WrongResult, match="minilm"):
        compare(contestants(wrong, x))
    case = Case("c", "ops", "c", lambda peers: contestants(wrong, x))
    ran = measure(case, peers.none(), seconds=0.01, quick=True)
    assert ran.error.startswith("wrong result") and not ran.ratios and not ran.own


def test_what_writes_in_place_may_run_again_before_the_comparison():
    """PyTorch on one thread is the same function once more, and an optimizer's step goes one step further."""
    first, second = np.zeros(2), np.zeros(2)

    def step(array):
        array += 1
        return array

    once = Contestant("minilm", lambda: step(first), lambda array: [array])
    peer = Contestant("torch", lambda: step(second), lambda array: [array])
    again = Contestant("torch-1", peer.run)
    assert compare([once, peer, again]) == {}


def raising(error):
    def run(*_):
        raise error

    return run


def test_a_broken_case_costs_itself_only():
    case = Case("c", "ops", "c", raising(RuntimeError("no such kernel")))
    assert measure(case, peers.none(), seconds=0.01, quick=True).error == "failed: RuntimeError: no such kernel"


class Panic(BaseException):
    """As what an extension in Rust raises where it is at its wits' end."""


@pytest.mark.parametrize("kind", [RuntimeError, Panic])
def test_a_broken_peer_costs_its_column_only(kind):
    x = np.ones(2)
    broken = Contestant("torch", raising(kind("out of luck")), lambda v: [v])
    case = Case("c", "ops", "c", lambda peers: [*contestants(x, x), broken])
    ran = measure(case, peers.none(), seconds=0.01, quick=True)
    assert not ran.error and ran.dropped == {"torch": f"{kind.__name__}: out of luck"} and set(ran.ratios) == {"oracle"}
    assert f"without torch: {kind.__name__}: out of luck" in report.Table(["c"]).row(record.row(ran))


def test_what_the_machine_lacks_is_no_error():
    case = Case("c", "ops", "c", raising(Unavailable("no AMX")))
    ran = measure(case, peers.none(), seconds=0.01, quick=True)
    assert ran.note == "no AMX" and not ran.error
    assert "not here" in report.Table(["c"]).row(record.row(ran))


def test_a_row_says_why_it_lacks_the_peer_of_its_target(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    monkeypatch.setitem(sys.modules, "onnx", None)  # as where it is not installed
    (case,) = (case for case in cases_generation.cases(quick=True) if case.name.startswith("encode") and case.precision == "int8")
    row = record.row(measure(case, peers.Peers(threads=2), quick=True))
    assert row["dropped"] == {"onnxruntime-int8": "onnxruntime: onnx: not installed"}
    assert "\n    without onnxruntime-int8: onnxruntime: onnx: not installed" in report.Table([]).row(row)
    left_out = record.row(measure(case, peers.Peers(without=("onnxruntime",)), quick=True))
    assert left_out["dropped"] == {}


def test_peers_are_missing_by_name():
    some = peers.Peers(without=("torch",))
    assert some.get("torch") is None and some.get("torch-bf16") is None
    assert some.missing == {"torch": "left out", "torch-bf16": "torch: left out"}
    assert "    without torch: left out" in report.peers(some.versions, some.missing)


def test_a_peer_that_is_not_installed_is_a_line(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "tokie", peers.Peer("no_such_library"))
    some = peers.Peers()
    assert some.get("tokie") is None and some.missing["tokie"] == "not installed"
    monkeypatch.delenv(peers.LLM_C, raising=False)
    assert some.get("llm.c") is None and some.missing["llm.c"] == f"{peers.LLM_C} is not set"


def test_torch_on_one_thread_stands_beside_torch():
    torch = types.SimpleNamespace(number=2)
    torch.get_num_threads = lambda: torch.number
    torch.set_num_threads = lambda number: setattr(torch, "number", number)
    some = peers.Peers(threads=2)
    some._modules.update({"torch": torch, "torch-1": torch})
    seen = []
    x = np.ones(1)

    def run():
        seen.append(torch.number)
        return x

    case = Case("c", "ops", "c", lambda peers: [*contestants(x, x), Contestant("torch", run, lambda v: [v])])
    ran = measure(case, some, seconds=0.01, quick=True)
    assert list(ran.samples) == ["minilm", "oracle", "torch", "torch-1"] and set(seen) == {1, 2} and torch.number == 2


def test_a_target_may_be_a_share_of_the_roof():
    assert row(against="roof", target=0.4)["reached"] is True  # it reaches half
    assert row(against="roof", target=0.6)["reached"] is False


@pytest.mark.parametrize(("other", "reached"), [(0.7, True), (0.6, False)])
def test_a_row_may_have_targets_against_several(other, reached):
    case = Case("bpe", "tokenizers", "bpe", lambda peers: [], target=10.0, against="tiktoken", also={"gigatoken": 0.667})
    ratios = {"tiktoken": Spread(12, 11, 13), "gigatoken": Spread(other, other, other)}
    judged = record.row(Result(case, ratios, {"minilm": [0.02]}, target=10.0))
    assert judged["reached"] is reached
    assert report.verdict(judged) == f"{'reached' if reached else 'MISSED'} (>= 10.0, gigatoken 0.67)"
