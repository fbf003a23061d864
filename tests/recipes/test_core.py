"""What all recipes share: settings, the loop, the two commands."""

import json
import sys
import time

import numpy as np
import pytest

from minilm import cli, recipes, training
from minilm.recipes import fit
from minilm.training import loop
from minilm.training.log import Progress
from tests import clocks
from tests.recipes.toy import Toy

pytestmark = pytest.mark.usefixtures("toy")


def test_run_learns_is_kept_and_answers_again(tmp_path):
    recipe = Toy()
    result = recipe.run(out=tmp_path / "run", progress=False)
    assert result.metrics["accuracy"] == 1.0 > result.chance
    again = recipes.open_run(tmp_path / "run")
    assert [again.answer(word) for word in ("abc", "d", "cab")] == ["a", "d", "c"]
    assert again.options == recipe.options
    for name, array in recipe.model.parameters.items():
        np.testing.assert_array_equal(again.model.parameters[name], array)
    measured = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert measured["metrics"] == {"accuracy": 1.0} and measured["steps"] == 120 and measured["metric"] == "accuracy"
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,seconds,lr,loss,accuracy" and rows[-1].startswith("1")
    assert "wanted" in (tmp_path / "run" / "samples.txt").read_text()
    assert (tmp_path / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_equal_seeds_give_equal_weights_and_others_do_not():
    def weights(seed, **options):
        recipe = Toy(steps=20, **options)
        recipe.run(seed=seed, progress=False)
        return recipe.model.parameters.flat

    np.testing.assert_array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))
    assert not np.array_equal(weights(3), weights(3, average=0.9))


def test_batches_have_each_example_once_and_near_lengths():
    examples = [int(n) for n in np.random.default_rng(0).integers(0, 100, 1000)]
    cut = list(fit.batches(examples, 16, lambda n: n, seed=1, epoch=0))
    assert sorted(n for batch in cut for n in batch) == sorted(examples)
    assert np.mean([max(batch) - min(batch) for batch in cut]) < 5
    assert cut != list(fit.batches(examples, 16, lambda n: n, seed=1, epoch=1))
    assert cut == list(fit.batches(examples, 16, lambda n: n, seed=1, epoch=0))


def test_minutes_end_a_run(monkeypatch):
    with clocks.stopped() as clock:
        monkeypatch.setattr(loop, "forward_backward", clock.after(0.1, loop.forward_backward))
        result = Toy().run(minutes=0.021, progress=False)
    assert result.steps == 13 and result.seconds == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"stepps": 3}, ValueError, "did you mean 'steps'"),
        ({"steps": 1.5}, TypeError, "steps"),
        ({"steps": -1}, ValueError, "steps"),
        ({"lr": float("nan")}, ValueError, "lr"),
        ({"lr": "fast"}, TypeError, "lr"),
        ({"noise": "loud"}, ValueError, "'none', 'some'"),
        ({"average": True}, TypeError, "average"),
        ({"steps": 0}, ValueError, "steps"),
        ({"batch": 0}, ValueError, "batch"),
        ({"evaluate_examples": 0}, ValueError, "evaluate_examples"),
        ({"evaluate_every": 0}, ValueError, "evaluate_every"),
        ({"evaluate_every": "often"}, TypeError, "evaluate_every"),
        ({"minutes": 0}, ValueError, "minutes"),
        ({"minutes": "soon"}, TypeError, "minutes"),
        ({"lr": 0.0}, ValueError, "lr"),
        ({"average": 1.0}, ValueError, "average"),
        ({"beta2": 1.0}, ValueError, "beta2"),
        ({"warmup": 1.0}, ValueError, "warmup"),
        ({"final": 1.5}, ValueError, "final"),
    ],
)
def test_wrong_settings(options, kind, says):
    with pytest.raises(kind, match=says):
        Toy(**options)


def test_a_loss_that_is_not_finite_ends_the_run(monkeypatch):
    recipe = Toy()
    monkeypatch.setattr(loop, "forward_backward", lambda *_: float("nan"))
    with pytest.raises(ArithmeticError, match="smaller lr"):
        recipe.run(progress=False)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="not empty"):
            Toy().run(out=tmp_path, overwrite=overwrite, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def run(capsys, *argv):
    status = cli.main([*map(str, argv)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_commands(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    status, out, _ = run(capsys, "recipe", "toy", "--out", folder, "--quiet", "--set", "lr=0.1", "--json")
    assert status == 0 and json.loads(out)["metrics"]["accuracy"] == 1.0
    assert run(capsys, "try", folder, "bad", "cab")[:2] == (0, "b\nc\n")
    status, _, err = run(capsys, "recipe", "toy", "--out", folder, "--quiet")
    assert status == 2 and "--overwrite" in err and err.count("\n") == 1
    status, out, _ = run(capsys, "recipe", "toy", "--out", folder, "--quiet", "--overwrite", "--steps", "5")
    assert status == 0 and "a guess: 0.2500" in out and "5 steps" in out
    status, out, _ = run(capsys, "recipe", "toy", "--keys")
    assert status == 0 and "Real data: one word a line." in out and "noise = none   one of none, some" in out
    status, out, _ = run(capsys, "recipe")
    assert status == 0 and "toy         the first letter" in out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["recipe", "toi"], "did you mean 'toy'"),
        (["recipe", "toy", "--set", "lr=quick"], "lr must be"),
        (["recipe", "toy", "--set", "model.lr=1"], "no dots"),
        (["recipe", "toy", "--steps", "3", "--minutes", "1"], "one of them"),
        (["recipe", "toy", "--set", "steps=3", "--set", "minutes=1"], "one of them"),
        (["recipe", "toy", "--steps", "0"], "steps must"),
        (["recipe", "toy", "--minutes", "0"], "minutes must"),
        (["recipe", "toy", "--minutes", "nan"], "minutes must"),
        (["recipe", "toy", "--set", "batch=0"], "batch must"),
        (["recipe", "toy", "--seed", "-1"], "seed"),
        (["recipe", "toy", "--data", "{words}"], "words:2: an empty line; wanted a word"),
        (["recipe", "toy", "--data", "{missing}"], "No such file"),
        (["try", "{empty}"], "config.json"),
        (["try", "{missing}"], "there is no folder"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, monkeypatch, argv, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").write_text("ab\n\ncd\n")
    (tmp_path / "empty").mkdir()
    paths = {name: tmp_path / name for name in ("words", "missing", "empty")}
    before = sorted(tmp_path.rglob("*"))
    status, _, err = run(capsys, *(word.format(**paths) for word in argv))
    assert status == 2 and says in err and err.count("\n") == 1
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "runs"] == before  # no empty run is left


@pytest.mark.parametrize("every", [None, 1])
def test_evaluations_take_little_of_a_budget_in_minutes(monkeypatch, every):
    now = [0.0]  # a clock that only training and evaluation move: 10 ms a step, 2 s an evaluation

    def trained(*arguments):
        now[0] += 0.01
        return forward_backward(*arguments)

    def glanced(self, examples):
        now[0] += 2.0
        return 0.5

    forward_backward = loop.forward_backward
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop, "forward_backward", trained)
    monkeypatch.setattr(Toy, "glance", glanced)
    recipe = Toy(evaluate_every=every)
    recipe.limit(minutes=1 / 60)
    train, validation = recipe.generate(0)
    recipe.prepare(train)
    recipe.model = recipe.make_model(0)
    fitted = fit.fit(recipe, train, validation, seed=0, progress=Progress(False, "examples"))
    assert fitted.steps == pytest.approx(100, abs=1) and fitted.seconds == pytest.approx(1.0, abs=0.02)
    assert sum(row.metric is not None for row in fitted.rows) == (1 if every is None else fitted.steps)


def test_a_picture_that_is_left_out_is_mentioned(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it fails
    status, _, err = run(capsys, "recipe", "toy", "--out", tmp_path / "run", "--steps", 3)
    assert status == 0 and "loss.png was left out: matplotlib is not installed" in err
    assert not (tmp_path / "run" / "loss.png").exists() and (tmp_path / "run" / "metrics.json").exists()


def test_keys_are_those_that_the_command_would_use(capsys):
    status, out, _ = run(capsys, "recipe", "toy", "--set", "lr=0.125", "--minutes", 2, "--keys")
    assert status == 0 and "\nlr = 0.125\n" in out and "\nminutes = 2.0\n" in out


def test_damaged_runs_are_told(tmp_path, capsys):
    folder = tmp_path / "run"
    run(capsys, "recipe", "toy", "--out", folder, "--quiet", "--steps", "3")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5])
    assert "model.safetensors is damaged" in run(capsys, "try", folder, "a")[2]
    (folder / "recipe.json").unlink()  # as an earlier minilm's: nothing says what the files must be
    assert "not a whole safetensors file" in run(capsys, "try", folder, "a")[2]
    weights.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "recipe": "toys"}))
    assert "did you mean 'toy'" in run(capsys, "try", folder, "a")[2]


@pytest.mark.parametrize("when", [0, 3])  # while kernels are compiled, and later
@pytest.mark.parametrize("error", [KeyboardInterrupt, ArithmeticError])
def test_a_step_that_does_not_finish_leaves_no_gradients(when, error, monkeypatch):
    recipe, calls = Toy(), []
    forward_backward = loop.forward_backward

    def interrupted(*arguments):
        loss = forward_backward(*arguments)
        calls.append(loss)
        if len(calls) > when:
            raise error
        return loss

    monkeypatch.setattr(loop, "forward_backward", interrupted)
    with pytest.raises(error):
        recipe.run(progress=False)
    assert not recipe.model.parameters.gradient_flat.any()


def test_callbacks_hear_of_the_steps_of_a_recipe(tmp_path):
    class Stops(training.Callback):
        def __init__(self):
            self.metrics, self.checkpoints = [], []

        def on_validation_end(self, loop, evaluation):
            self.metrics.append((loop.state.step, evaluation))
            if len(self.metrics) == 2:
                loop.stop()

        def on_checkpoint(self, loop):
            self.checkpoints.append(loop.state.step)

    stops = Stops()
    result = Toy(steps=40, evaluate_every=7).run(out=tmp_path / "cut", progress=False, callbacks=[stops])
    assert result.steps == 14 and [step for step, _ in stops.metrics] == [7, 14] and stops.checkpoints == [14]
    assert all(0 <= accuracy <= 1 for _, accuracy in stops.metrics)
    Toy().run(out=tmp_path / "cut", progress=False, resume=True)
    Toy(steps=40, evaluate_every=7).run(out=tmp_path / "whole", progress=False)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="the recipe vectors trains in a loop of the kernel, which has no events"):
        recipes.load("vectors")().fit([], [], seed=0, progress=Progress(False, "words"), callbacks=[stops])
