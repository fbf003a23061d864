"""The command, on tiny sizes and without the peer."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import cases_models, cases_ops, memory, peers
from benchmarks.__main__ import main
from minilm import ops


def test_every_op_of_the_registry_has_a_case():
    assert {case.subject for case in cases_ops.cases()} == set(ops.registry())


def test_names_are_unique():
    names = [case.name for quick in (False, True) for case in cases_ops.cases(quick) + cases_models.cases(quick)]
    assert len(set(names)) == len(names)


def test_rows_and_peers_name_ops_there_are():
    named = {row.op for row in cases_ops.ROWS} | set(peers.OPS) | set(peers.STEPS) | peers.RANDOM
    assert named <= set(ops.registry())


def test_quick_run_of_everything(tmp_path, capsys):
    path = tmp_path / "run.json"
    assert main(["all", "--quick", "--no-peers", "--json", str(path), "--csv", str(tmp_path / "run.csv")]) == 0
    results = json.loads(path.read_text())["results"]
    assert {result["subject"] for result in results} >= set(ops.registry()) | set(cases_models.TARGETS)
    assert all(result["ratios"]["oracle"]["median"] > 0 for result in results)
    assert "MISSED" not in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_quick_run_beside_the_peer_computes_the_same(capsys):
    assert main(["all", "--quick"]) == 0, capsys.readouterr().out  # 1: an op and its peer disagree


def test_quick_run_of_the_tokenizers(tmp_path, capsys):
    """With the peers that are installed: ids and merges are compared before anything is timed."""
    path = tmp_path / "run.json"
    assert main(["tokenizers", "bpe", "--quick", "--seconds", "0.05", "--json", str(path)]) == 0, capsys.readouterr().out
    names = [result["name"] for result in json.loads(path.read_text())]
    assert "bpe stories, cold" in names and any(name.startswith("bpe training") for name in names)
    assert main(["tokenizers", "--list"]) == 0
    assert "bpe stories, warm" in capsys.readouterr().out.splitlines()


def test_list_names_what_can_be_chosen(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "cross_entropy N 1,024 V 10,000   target: 5 x torch" in listed and "LSTM layer B 32 T 64 D 256 H 256" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ops", "cross_entrpy"], "did you mean 'cross_entropy'?"),
        (["models", "lstm"], "did you mean 'LSTM'?"),
        (["opps"], "did you mean 'ops'?"),
        (["memory", "lstm"], "did you mean 'LSTM'?"),
        (["ops", "linear", "--json", "no/such/folder/run.json"], "cannot write"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_hint(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--seconds", "nan"], ["--seconds", "-1"], ["--sceonds", "1"]])
def test_wrong_options_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not memory.available(), reason="no /proc/self/clear_refs to write to")
def test_memory_sees_what_a_step_holds():
    code = (
        "import numpy as np\n"
        "from benchmarks.memory import rise\n"
        "held = []\n"
        "def make():\n"
        "    return lambda: held.append(np.ones(2**20)) or np.ones(2**22)\n"  # 8 MiB kept a step, 32 MiB for a moment
        "print(rise(make, 3))\n"
    )
    root = pathlib.Path(__file__).parents[2]
    peak = int(subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout)
    assert 56 - 4 < peak / 2**20 < 56 + 8


def test_beside_command(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "beside.json"
    assert main(["beside", "LSTM", "--quick", "--json", str(path)]) == 0
    assert [(row["library"], row["speed_beside_over_alone"] > 0) for row in json.loads(path.read_text())] == [
        ("minilm", True),
        ("torch", True),
    ]


@pytest.mark.skipif(not memory.available(), reason="no /proc/self/clear_refs to write to")
def test_memory_command(tmp_path):
    path = tmp_path / "memory.json"
    assert main(["memory", "LSTM", "--quick", "--no-peers", "--json", str(path)]) == 0
    (measured,) = json.loads(path.read_text())
    assert measured["MiB"]["minilm"] >= 0 and measured["ratio"] is None
