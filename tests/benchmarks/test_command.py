"""The command, on tiny sizes and without peers."""

import contextlib
import csv
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import cases_models, cases_ops, memory, peer_ops, suites
from benchmarks.__main__ import main
from minilm import ops

CPU = [name for name in suites.SUITES if name != "gpu"]


def test_every_op_of_the_registry_has_a_case():
    assert {case.subject for case in cases_ops.cases()} == set(ops.registry())


def test_names_are_unique_and_of_their_suite():
    for quick in (False, True):
        cases = suites.cases(CPU, quick)
        names = [case.name for case in cases]
        assert len(set(names)) == len(names)
        assert {case.suite for case in cases} == set(CPU)


def test_rows_and_peers_name_ops_there_are():
    named = {row.op for row in cases_ops.ROWS} | set(peer_ops.OPS) | set(peer_ops.STEPS) | peer_ops.RANDOM
    assert named <= set(ops.registry())


def test_quick_run_of_the_usual_suites(tmp_path, capsys):
    path, table = tmp_path / "run.json", tmp_path / "run.csv"
    assert main(["--quick", "--no-peers", "--threads", "1", "--json", str(path), "--csv", str(table)]) == 0, (
        capsys.readouterr().out
    )
    record = json.loads(path.read_text())
    results = record["results"]
    assert {result["subject"] for result in results} >= set(ops.registry()) | set(cases_models.TARGETS) | {"generate", "bert"}
    assert all(result["ratios"]["oracle"]["median"] > 0 for result in results if "oracle" in result["samples"])
    assert record["missing"]["torch"] == "left out" and record["machine"]["levels"] and record["date"].endswith("Z")
    out = capsys.readouterr().out
    assert "MISSED" not in out and "without torch: left out" in out
    rows = list(csv.DictReader(table.open()))
    assert {row["name"] for row in rows} == {result["name"] for result in results}
    assert {row["contestant"] for row in rows} >= {"minilm", "oracle"}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_quick_run_beside_the_peers_computes_the_same(capsys):
    assert main(["ops", "models", "generation", "--quick", "--threads", "1"]) == 0, (
        capsys.readouterr().out
    )  # 1: an op and its peer disagree


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_ops_beside_torch_compute_the_same(capsys):
    assert main(["ops", "--quick", "--threads", "1"]) == 0, capsys.readouterr().out


def test_quick_run_of_the_tokenizers(tmp_path, capsys):
    """With the peers that are installed: ids and merges are compared before anything is timed."""
    path = tmp_path / "run.json"
    arguments = ["tokenizers", "--filter", "stories", "--filter", "training", "--filter", "Thai", "--quick", "--seconds", "0.05"]
    assert main([*arguments, "--json", str(path)]) == 0, capsys.readouterr().out
    results = json.loads(path.read_text())["results"]
    names = [result["name"] for result in results]
    assert any(name.endswith(", stories, cold") for name in names) and any(name.startswith("bpe training") for name in names)
    assert all(result["rates"]["MB/s"] > 0 for result in results)


def test_list_names_what_can_be_chosen(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert "cross_entropy N 1,024 V 10,000   target: 5 x torch" in listed and "LSTM layer B 32 T 64 D 256 H 256" in listed


@pytest.mark.parametrize("suite", suites.SUITES)
def test_every_suite_lists_and_filters(suite, capsys):
    assert main([suite, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    word = lines[-1].split("   target")[0].split()[-1]
    assert main([suite, "--list", "--filter", word]) == 0
    filtered = capsys.readouterr().out.splitlines()
    assert filtered and set(filtered) <= set(lines) and all(word.lower() in line.lower() for line in filtered)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ops", "cross_entrpy"], "did you mean 'cross_entropy'?"),
        (["models", "lstm"], "did you mean 'LSTM'?"),
        (["opps"], "did you mean 'ops'?"),
        (["memory", "lstm"], "did you mean 'LSTM'?"),
        (["ops", "--filter", "no such case"], "no case's name holds 'no such case'"),
        (["ops", "--without", "torhc"], "did you mean 'torch'?"),
        (["ops", "--resume"], "it needs --json FILE"),
        (["ops", "linear", "--json", "no/such/folder/run.json"], "cannot write"),
        (["ops", "relu", "--plot", "picture.png", "--list"], "wants a folder"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_hint(arguments, said, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--seconds", "nan"], ["--minutes", "-1"], ["--sceonds", "1"]])
def test_wrong_options_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_resume_times_what_is_missing_alone(tmp_path, capsys):
    path = str(tmp_path / "run.json")
    arguments = ["ops", "--quick", "--no-peers", "--json", path, "--resume"]
    assert main([*arguments, "relu"]) == 0
    assert main([*arguments, "relu", "tanh"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("relu ")]
    assert len(lines) == 1
    assert [result["subject"] for result in json.loads(pathlib.Path(path).read_text())["results"]] == ["relu", "tanh"]


def test_a_kill_loses_one_row(tmp_path):
    """The record is whole after every row, whenever the process ends."""
    path = tmp_path / "run.json"
    code = (
        "import os, sys\n"
        "from benchmarks import run\n"
        "from benchmarks.__main__ import main\n"
        "measure, count = run.measure, []\n"
        "def dying(case, *arguments, **options):\n"
        "    count.append(case)\n"
        "    if len(count) == 3:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return measure(case, *arguments, **options)\n"
        "run.measure = dying\n"
        f"main(['ops', 'sigmoid', 'tanh', 'relu', 'softmax', '--quick', '--no-peers', '--json', {str(path)!r}])\n"
    )
    root = pathlib.Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    assert [result["subject"] for result in json.loads(path.read_text())["results"]] == ["sigmoid", "tanh"]
    assert "sigmoid N 9" in ended.stdout  # printed as it came


def test_minutes_begin_nothing_that_would_not_end(tmp_path, capsys):
    path = tmp_path / "run.json"
    assert main(["ops", "--quick", "--no-peers", "--minutes", "0.0001", "--json", str(path)]) == 0
    assert "cases were not timed" in capsys.readouterr().out


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


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["beside", "startup", "scaling"])
def test_quick_runs_of_what_has_processes_of_its_own(suite, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "run.json"
    assert main([suite, "--quick", "--json", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert results and all(sample["median"] > 0 for result in results for sample in result["samples"].values())


@pytest.mark.skipif(not memory.available(), reason="no /proc/self/clear_refs to write to")
def test_memory_command(tmp_path):
    path = tmp_path / "memory.json"
    assert main(["memory", "LSTM", "--quick", "--no-peers", "--json", str(path)]) == 0
    (measured,) = json.loads(path.read_text())["results"]
    assert measured["unit"] == "MiB" and measured["samples"]["minilm"]["median"] >= 0 and not measured["ratios"]


def test_profile_says_where_the_time_goes(capsys):
    assert main(["models", "--profile", "char_lm lstm", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shares = {line[:22].strip(): line.split("%")[0].split()[-1] for line in lines if "%" in line}
    assert {"lstm forward", "lstm backward", "linear forward", "adam", "between the ops"} <= set(shares)
    assert 95 < sum(map(float, shares.values())) < 105
    assert not hasattr(ops.linear.forward, "__wrapped__")  # the op is itself again


def test_from_the_sources_without_installation(tmp_path):
    """In another folder, with nothing but the path of the sources."""
    root = str(pathlib.Path(__file__).parents[2])
    command = [sys.executable, "-m", "benchmarks", "ops", "--list", "--filter", "relu"]
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "relu N" in done.stdout, done.stderr


@pytest.mark.parametrize("words", [["readme"], ["board"], ["results", "--help"], ["ops", "--list"]])
def test_a_reader_that_has_seen_enough(words, monkeypatch, capsys):
    """`python -m benchmarks board | head -1` ends as other programs do."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", nobody)
        with contextlib.suppress(SystemExit):  # --help
            assert main(words) == 141
    assert capsys.readouterr().err == ""
