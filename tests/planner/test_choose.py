"""minilm choose: the command, and what it says of mistakes."""

import json

import pytest

from minilm import cli, planner
from tests.planner.test_planner import TWO_CORES


@pytest.fixture
def machine(tmp_path):
    TWO_CORES.save(tmp_path / "machine.json")
    return ["--machine", str(tmp_path / "machine.json")]


def test_the_command(machine, capsys, tmp_path):
    assert cli.main(["choose", "sentiment", "--examples", "67000", "--length", "10", "--minutes", "10", *machine]) == 0
    out = capsys.readouterr().out
    assert "minilm recipe sentiment --data PATH --set model=" in out and "assumed:" in out and "GFLOP/s" in out
    assert cli.main(["choose", "language-model", "--length", "1000000", "--json", *machine]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"]["fits"] and found["data"]["tokens"] == 10**6 and len(found["others"]) > 10
    (tmp_path / "text.txt").write_text("the cat sat\n" * 500)
    assert cli.main(["choose", "vectors", "--data", str(tmp_path / "text.txt"), "--all", *machine]) == 0
    assert f"--data {tmp_path / 'text.txt'}" in capsys.readouterr().out
    assert cli.main(["choose"]) == 0
    assert "language-model  lstm, gru, gpt" in capsys.readouterr().out
    assert cli.main(["choose", "language-model", "--length", "1000000000000", *machine]) == 1
    assert "nothing fits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sentimant", "--examples", "5"], "did you mean 'sentiment'"),
        (["sentiment"], "how much data is there?"),
        (["sentiment", "--data", "{missing}"], "No such file"),
        (["sentiment", "--data", "{missing}", "--examples", "3"], "give it or them"),
        (["sentiment", "--examples", "0"], "examples"),
        (["sentiment", "--examples", "10", "--minutes", "-1"], "minutes"),
    ],
)
def test_mistakes_are_told_in_one_line(machine, capsys, tmp_path, argv, says):
    assert cli.main(["choose", *(word.format(missing=tmp_path / "missing") for word in argv), *machine]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["sentiment", "--minutes", "3"],
        ["nope"],
        ["sentiment", "--data", "no/such/file"],
        ["sentiment", "--examples", "-1"],
        ["sentiment", "--examples", "5", "--minutes", "0"],
        ["sentiment", "--examples", "5", "--memory", "-2"],
    ],
)
def test_nothing_is_measured_for_a_question_without_an_answer(argv, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(planner.Machine, "measure", classmethod(lambda cls: pytest.fail("measured")))
    assert cli.main(["choose", *argv]) == 2
    err = capsys.readouterr().err
    assert "measuring" not in err and err.count("\n") == 1


def test_another_device_needs_its_rates(capsys):
    assert cli.main(["choose", "tag", "--examples", "5", "--device", "cuda"]) == 2
    assert "--machine FILE" in capsys.readouterr().err
