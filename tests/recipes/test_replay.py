"""`minilm verify` on a recipe's run: trained again from the first weights, its log and its arrays are the run's, bit for bit."""

import json

import pytest

from minilm import cli, recipes
from minilm.optimizers import AdamW
from minilm.recipes import fit
from minilm.recipes.replay import replay
from tests.recipes.test_resume import stop_after
from tests.recipes.toy import Toy
from tests.test_strangers_files import sealed_again

pytestmark = pytest.mark.usefixtures("toy", "unplotted")

SMALL = {"hidden_size": 8, "embedding_size": 8}
RUNS = {
    "toy": {"steps": 25, "average": 0.9, "evaluate_every": 10},
    "tag": {**SMALL, "steps": 4, "dropout": 0.3},
    "vectors": {"steps": 2, "size": 8},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_same_bits_again(name, tmp_path, capsys):
    recipes.load(name)(**RUNS[name]).run(out=tmp_path / "run", seed=3, progress=False)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert cli.main(["verify", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    arrays = "model.safetensors" if name == "vectors" else "model.safetensors and optimizer.safetensors"
    assert ("rows of the log" in out) == (name != "vectors") and f"{arrays} of step {RUNS[name]['steps']}" in out
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_run_that_was_stopped_is_replayed_as_far_as_it_came(tmp_path, monkeypatch):
    stop_after(monkeypatch, 12)
    result = Toy(steps=25).run(out=tmp_path / "run", progress=False)
    assert 0 < result.steps < 25
    assert replay(tmp_path / "run")[::3] == (result.steps, None)


def test_what_differs_is_named(tmp_path, monkeypatch, capsys):
    Toy(steps=25).run(out=tmp_path / "run", progress=False)
    monkeypatch.setattr(fit, "AdamW", lambda *words, **options: AdamW(*words, **{**options, "betas": (0.8, 0.9)}))
    assert cli.main(["verify", str(tmp_path / "run")]) == 1
    assert "replay   differs. row of step " in capsys.readouterr().out
    monkeypatch.setattr(fit, "AdamW", AdamW)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["options"]["lr"] *= 1.5
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert cli.main(["verify", str(tmp_path / "run"), "--steps", "0"]) == 2  # the files are not the run's
    sealed_again(tmp_path / "run")
    capsys.readouterr()
    assert cli.main(["verify", str(tmp_path / "run"), "--steps", "0"]) == 0
    assert cli.main(["verify", str(tmp_path / "run")]) == 1
    assert "lr is" in (out := capsys.readouterr().out) and "was the run's budget raised after it?" in out


def test_what_cannot_be_replayed_is_one_line(tmp_path, capsys):
    Toy(minutes=0.001).run(out=tmp_path / "minutes", progress=False)
    assert cli.main(["verify", str(tmp_path / "minutes")]) == 2
    assert "its budget is 0.001 minutes, so its rates followed the clock" in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path / "minutes"), "--publish"]) == 2
    assert "--publish is for runs of `minilm train`" in capsys.readouterr().err
