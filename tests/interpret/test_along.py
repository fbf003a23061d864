"""Head scores and probes along a run: what each checkpoint says by itself, and the command that gathers it."""

import csv
import json

import numpy as np
import pytest

from minilm import cli, hooks, interpret
from tests.interpret.fakes import made


def checkpoints(kind):
    return [(10 * n, made(kind, np.float32, seed=n)[0]) for n in (1, 2)]


def test_each_row_is_of_its_checkpoint():
    pairs, ids = checkpoints("gpt"), np.random.default_rng(0).integers(0, 9, (20, 12))
    result = interpret.along(pairs, ids, texts=2)
    assert result.steps == [10, 20] and result.probes.shape == (2, 3) and 0.05 < result.majority < 0.4
    for (_, model), score, row in zip(pairs, result.scores, result.probes, strict=True):
        wanted = interpret.head_scores(model, texts=2)
        np.testing.assert_array_equal(score.induction, wanted.induction)
        with hooks(model, "h.2") as seen:
            model.loss(ids, ids)
        labels = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)[:, :-1]
        probe = interpret.linear_probe(seen["h.2"][:, 1:].reshape(-1, 8), labels.ravel())
        assert row[2] == pytest.approx(probe.accuracy, abs=0.06)  # classes in another order
    columns = result.columns()
    assert columns[:3] == ["step", "copying", "previous.0.0"] and columns[-1] == "probe.2"
    table = list(csv.reader(result.to_csv().splitlines()))
    assert table[0] == columns and float(table[2][columns.index("induction.1.1")]) == pytest.approx(
        result.scores[1].induction[1, 1]
    )
    assert json.loads(result.to_json())["scores"][1]["copying"] == pytest.approx(result.scores[1].copying, rel=1e-4)
    assert str(result).splitlines()[2].split()[0] == "20"


def test_a_probe_finds_what_a_layer_holds():
    """An RNN that copies its input and its state: the token before is there, and the one after it no more."""
    model, tokenizer = made("rnn", np.float32)
    ids = np.random.default_rng(0).integers(0, 3, (30, 20))
    model.embedding.weight.value[:3] = np.eye(3, 5)
    for name, value in model.parameters.items():
        if name.startswith("recurrent"):
            value[...] = 0
    parameters = dict(model.parameters.items())
    parameters["recurrent.weight_ih_l0"][:3, :3] = np.eye(3)
    parameters["recurrent.weight_hh_l0"][3:, :3] = np.eye(3)
    assert interpret.along([(1, model)], ids).probes[0, 0] > 0.99
    two = interpret.along([(1, model)], ids, back=2)
    assert two.probes[0, 0] < 0.6 and two.scores is None and two.columns() == ["step", "probe.0"]


def test_what_cannot_be_followed():
    ids = np.zeros((4, 10), np.int64)
    for pairs, message in (([], "no checkpoint"), ([*checkpoints("gpt"), *checkpoints("rnn")], "of one model")):
        with pytest.raises(ValueError, match=message):
            interpret.along(pairs, ids + np.arange(10))
    with pytest.raises(ValueError, match="back must"):
        interpret.along(checkpoints("gpt"), ids, back=10)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat, and the dog sat on the cat. " * 60)
    settings = ["keep_every=2", "batch=4", "time=16", "model.n_layer=1", "model.n_head=2", "model.n_embd=8"]
    options = [word for setting in settings for word in ("--set", setting)]
    argv = ["train", "--corpus", str(text), "--model", "gpt", "--steps", "4", "--out", str(folder / "gpt"), *options]
    assert cli.main(argv) == 0
    return folder / "gpt"


def explain(capsys, *argv):
    status = cli.main(["explain", *map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command(run, tmp_path, capsys):
    table, numbers = tmp_path / "along.csv", tmp_path / "along.json"
    status, out, err = explain(capsys, run, "--along", "--out", table, "--json", numbers, "--png", tmp_path)
    assert (status, err) == (0, "") and "induction" in out and f"wrote       {table}" in out
    assert json.loads(numbers.read_text())["steps"] == [2, 4] and table.read_text().count("\n") == 3
    assert (tmp_path / "along.png").stat().st_size > 5000
    status, out, _ = explain(capsys, run, "--along", "--json", "-", "--text", "the dog sat on the mat. " * 20)
    assert status == 0 and len(json.loads(out)["probes"]) == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--out", "x.html"], "--out FILE.csv"),
        (["--text", "the cat"], "a longer --text"),
        (["--foil", "a"], "--foil explains one text"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, says, run, capsys):
    status, _, err = explain(capsys, run, "--along", *argv)
    assert status == 2 and says in err and err.count("\n") == 1


def test_a_run_that_kept_nothing(run, capsys):
    status, _, err = explain(capsys, run / "step-2", "--along")
    assert status == 2 and "keep_every" in err and err.count("\n") == 1
