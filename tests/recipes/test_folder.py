"""The folder of a recipe's run: one run at a time, and the model is there as soon as it is trained."""

import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minilm import recipes
from minilm.files import new_folder
from minilm.training import loop
from minilm.training.callbacks import SIGNALS
from minilm.training.run_folder import Folder
from minilm.weights import tensor_writer
from tests.recipes.test_core import run
from tests.recipes.toy import Toy

pytestmark = pytest.mark.usefixtures("toy")


class Broken(Toy):
    """A recipe that cannot be measured."""

    error: BaseException = ValueError("no example can be measured")

    def evaluate(self, examples):
        raise self.error

    def glance(self, examples):
        return 0.5


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "broken", ("tests.recipes.test_folder", "Broken"))
    monkeypatch.setattr(Toy, "name", "broken")  # what config.json says


@pytest.mark.parametrize("error", [ValueError("no example can be measured"), KeyboardInterrupt(), ArithmeticError("zero")])
def test_what_was_learned_is_kept_whatever_is_raised_while_it_is_measured(tmp_path, capsys, monkeypatch, broken, error):
    monkeypatch.setattr(Broken, "error", error)
    status, _, err = run(capsys, "recipe", "broken", "--out", tmp_path / "run", "--seed", 4)
    assert status == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert f"what was learned is in {tmp_path / 'run'}" in err
    trained = Toy()
    trained.run(seed=4, progress=False)
    kept = recipes.open_run(tmp_path / "run")
    for name, array in trained.model.parameters.items():
        np.testing.assert_array_equal(kept.model.parameters[name], array)
    assert kept.answer("abc") == "a" and (tmp_path / "run" / "log.csv").read_text().count("\n") > 5


def test_an_unmeasured_run_has_no_measures_of_the_one_before(tmp_path, monkeypatch, broken):
    Toy(steps=5).run(out=tmp_path, progress=False)
    assert {"metrics.json", "samples.txt", "loss.png"} <= {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="no example"):
        Broken(steps=5).run(out=tmp_path, overwrite=True, progress=False)
    assert not {"metrics.json", "samples.txt", "loss.png"} & {path.name for path in tmp_path.iterdir()}


def test_nothing_of_another_recipes_run_stays_in_the_folder(tmp_path):
    Toy(steps=5).run(out=tmp_path, progress=False)
    others = {"attention.png", "hops.png", "relations.png", "vectors.txt", "tokenizer.source.json"}
    for name in others:
        (tmp_path / name).write_text("of a run of another recipe")
    (tmp_path / "notes.txt").write_text("mine")
    Toy(steps=5).run(out=tmp_path, overwrite=True, progress=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert "notes.txt" in names and not others & names


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_model_is_written_waits_until_it_is(tmp_path, monkeypatch, number):
    before, replaced, acted = tensor_writer.write, [], []

    def write(file, arrays, metadata):
        if "optimizer.steps" not in arrays:  # once a checkpoint
            replaced.append((tmp_path / "config.json").exists())
            signal.raise_signal(number)
        before(file, arrays, metadata)

    monkeypatch.setattr(tensor_writer, "write", write)
    outside = signal.signal(number, lambda *_: acted.append(sorted(path.name for path in tmp_path.iterdir())))
    try:
        Toy(steps=5).run(out=tmp_path, progress=False)
        Toy(steps=5).run(out=tmp_path, progress=False, overwrite=True)
    finally:
        signal.signal(number, outside)
    assert len(acted) == 2 and all({"config.json", "model.safetensors"} < {*names} for names in acted)
    assert replaced == [False, True]  # the old run is whole until the new one is
    recipes.open_run(tmp_path).answer("abc")


def test_two_recipes_do_not_train_in_one_folder(tmp_path):
    found = []

    class Meanwhile(Toy):
        def fit(self, *arguments, **options):
            for overwrite in (False, True):
                with pytest.raises(ValueError, match="another process is training there") as error:
                    Toy(steps=3).run(out=tmp_path / "run", overwrite=overwrite, progress=False)
                found.append(error)
            with pytest.raises(ValueError, match="another process is training there"):
                Folder(tmp_path / "run")  # of `minilm train`
            return super().fit(*arguments, **options)

    Meanwhile(steps=3).run(out=tmp_path / "run", progress=False)
    assert len(found) == 2
    Toy(steps=3).run(out=tmp_path / "run", overwrite=True, progress=False)  # the lock ends with the run


def test_no_two_runs_get_the_same_new_folder(tmp_path):
    stem = str(tmp_path / "runs" / "toy")
    (tmp_path / "runs" / "toy-2").mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(stem), range(24)))
    assert sorted(made) == sorted(f"{stem}-{number}" for number in (1, *range(3, 26)))


def test_a_failure_leaves_no_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "forward_backward", lambda *_: float("nan"))
    with pytest.raises(ArithmeticError):
        Toy().run(out=tmp_path / "new", progress=False)
    (tmp_path / "old").mkdir()
    with pytest.raises(ArithmeticError):
        Toy().run(out=tmp_path / "old", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]  # which was there before
