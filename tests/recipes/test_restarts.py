"""Restarts: the model of least training loss is kept, a stopped run goes on, and what cannot be restarted says so."""

import json
import os
import signal

import numpy as np
import pytest

from minilm import cli, recipes, training
from minilm.recipes import fit, restarts
from minilm.recipes.replay import replay
from minilm.recipes.vectors import Vectors
from tests.recipes.toy import Toy

pytestmark = pytest.mark.usefixtures("toy")

SHORT = {"lr": 0.02, "batch": 16}


def weights(recipe):
    return {name: np.array(value) for name, value in recipe.model.parameters.items()}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_the_restart_of_least_training_loss_is_kept(tmp_path):
    """Each is a run of its own seed; of four short ones the first is not the best."""
    recipe = Toy(**SHORT, restarts=4, steps=26)
    result = recipe.run(out=tmp_path / "run", seed=0, progress=False)
    train, _ = Toy().generate(0)
    alone = []
    for number, steps in enumerate((6, 7, 6, 7)):
        one = Toy(**SHORT, steps=steps)
        one.generate = lambda seed: Toy().generate(0)
        one.run(seed=restarts._seed(0, number), progress=False)
        alone.append((restarts.training_loss(one, train), weights(one)))
    best = min(range(4), key=lambda number: alone[number][0])
    assert best != 0 and len({loss for loss, _ in alone}) == 4
    assert same(weights(recipe), alone[best][1]) and not same(weights(recipe), alone[0][1])
    assert same(weights(recipes.open_run(tmp_path / "run")), alone[best][1])
    assert result.steps == 26
    steps = [int(line.split(",")[0]) for line in (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)) and steps[-1] == 26


def test_a_stopped_run_goes_on_with_its_restart(tmp_path, monkeypatch):
    options = {**SHORT, "restarts": 3, "steps": 18}
    Toy(**options).run(out=tmp_path / "whole", seed=2, progress=False)
    losses = json.loads((tmp_path / "whole" / "recipe.json").read_text())["place"]["losses"]
    assert min(losses) != losses[2], "the best one is of before the stop"
    calls, real = [], fit.RecipeLoop.gradients

    def stopped(self, batch):
        calls.append(0)
        if len(calls) == 19:  # in the third: each takes a step to compile beside its six
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch)

    monkeypatch.setattr(fit.RecipeLoop, "gradients", stopped)
    assert Toy(**options).run(out=tmp_path / "run", seed=2, progress=False).stopped == signal.SIGTERM
    monkeypatch.undo()
    monkeypatch.setitem(recipes.RECIPES, "toy", ("tests.recipes.toy", "Toy"))
    Toy().run(out=tmp_path / "run", resume=True, progress=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert replay(tmp_path / "run").fault is None


def test_what_cannot_be_restarted_says_so(capsys):
    with pytest.raises(ValueError, match="callbacks watch one training"):
        Toy(restarts=2).run(progress=False, callbacks=[training.Callback()])
    with pytest.raises(ValueError, match="wanted 3 steps at least, got 2"):
        Toy(restarts=3, steps=2).run(progress=False)
    with pytest.raises(ValueError, match="restarts must be one of 1, got 2"):
        Vectors(restarts=2)
    assert cli.main(["recipe", "toy", "--quiet", "--set", "restarts=0"]) == 2
    assert "restarts" in capsys.readouterr().err


def test_sgd_steps_against_the_gradient():
    """One step without a warmup: the weights move by -lr times the gradients, which Adam's do not."""
    moved = {}
    for name in ("sgd", "adam"):
        recipe = Toy(optimizer=name, steps=1, lr=0.05, clip_norm=0.0, warmup=0.0, batch=160)
        recipe.run(seed=0, progress=False)
        train, _ = recipe.generate(0)
        first = Toy()
        first.vocabularies, first.facts = recipe.vocabularies, recipe.facts
        first.model = first.make_model(0)
        before = weights(first)
        _, saved = first.model.forward(*recipe.batch(train))
        first.model.backward(saved)
        gradients = first.model.parameters.gradients
        moved[name] = [
            np.allclose(after - before[key], -0.05 * gradients[key], rtol=1e-3, atol=1e-7)
            for key, after in weights(recipe).items()
        ]
    assert all(moved["sgd"]) and not any(moved["adam"])
