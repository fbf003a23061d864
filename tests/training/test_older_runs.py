"""Runs begun by an earlier minilm: used as before, and gone on with only where that gives the same weights."""

import json
import shutil

import pytest

from minilm import cli, recipes, training
from minilm.random import DROPOUT_KEYS
from minilm.training.state import checksum
from tests.training.helpers import contents


def aged(folder, name):
    """Make a run's state that of a minilm which did not say how dropout's keys are numbered."""
    path = folder / name
    body = json.loads(path.read_text())
    assert body.pop("dropout_keys") == DROPOUT_KEYS
    del body["sha256"]
    path.write_text(json.dumps({**body, "sha256": checksum(body)}))


def test_with_dropout_it_is_not_resumed(tiny, tmp_path, capsys):
    run = training.train(tiny(steps=6, model={"dropout": 0.2}), out=tmp_path / "run")
    aged(tmp_path / "run", "training.json")
    assert (training.load_run(run.folder).model.parameters.flat == run.model.parameters.flat).all()
    with pytest.raises(ValueError, match="cannot be resumed: its dropout has keys of version 1, wanted 2") as error:
        training.train(tiny(steps=9, model={"dropout": 0.2}), out=run.folder, resume=True)
    assert "\n" not in str(error.value)
    assert cli.main(["train", "--out", run.folder, "--resume"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_dropout_it_goes_on(tiny, tmp_path):
    training.train(tiny(steps=6), out=tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "older")
    aged(tmp_path / "older", "training.json")
    for name in ("run", "older"):
        training.train(tiny(steps=9), out=tmp_path / name, resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "older")
    assert json.loads((tmp_path / "older" / "training.json").read_text())["dropout_keys"] == DROPOUT_KEYS


@pytest.mark.parametrize("dropout", [0.3, 0.0])
def test_recipes(dropout, tmp_path):
    small = {"hidden_size": 8, "embedding_size": 8, "batch": 32, "evaluate_examples": 8, "word_dropout": dropout}
    recipe, run, older = recipes.load("sentiment"), tmp_path / "run", tmp_path / "older"
    recipe(steps=3, dropout=dropout, **small).run(out=run, progress=False)
    shutil.copytree(run, older)
    aged(older, "recipe.json")
    recipe(steps=5).run(out=run, resume=True, progress=False)
    if dropout:
        with pytest.raises(ValueError, match="cannot be resumed: its dropout has keys of version 1, wanted 2"):
            recipe(steps=5).run(out=older, resume=True, progress=False)
    else:
        recipe(steps=5).run(out=older, resume=True, progress=False)
        assert (older / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
