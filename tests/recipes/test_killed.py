"""Killed at any moment, a recipe's folder holds a whole run."""

import os
import shutil

import numpy as np
import pytest

from minilm import cli, recipes
from minilm.optimizers import AdamW, WeightAverage
from minilm.recipes import folder as files
from minilm.recipes.kept import Kept
from minilm.recipes.resuming import fingerprint
from minilm.recipes.state import RecipeState
from minilm.training import loop
from minilm.training.checkpoint import Checkpoint
from tests.disk_faults import HOW, in_child
from tests.recipes.test_resume import contents
from tests.recipes.toy import Toy

pytestmark = pytest.mark.usefixtures("toy", "unplotted", "unsynced")


def trained(seed, average=None):
    """A recipe with a model, an optimizer, perhaps an average, and what its run is."""
    recipe = Toy(average=average)
    parts = recipe.generate(seed)
    recipe.prepare(parts[0])
    if seed:
        recipe.facts = {"labels": ["d", "c", "b", "a"]}  # of the same shapes
    recipe.model = recipe.make_model(seed)
    adam = AdamW(recipe.model.parameters, lr=0.1)
    mean = None if average is None else WeightAverage(recipe.model.parameters, average)
    return recipe, adam, mean, RecipeState(seed, data_sha256=fingerprint(*parts))


def step(recipe, adam, mean, state):
    recipe.model.parameters.gradient_flat[...] = np.random.default_rng(state.step).normal(size=adam.parameters.flat.size)
    adam.step()
    mean.update()
    state.step += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", HOW)
def test_killed_at_every_call_of_a_checkpoint(tmp_path, how):
    recipe, adam, mean, state = trained(0, 0.9)
    seen, expected = set(), {}
    with files.opened(tmp_path / "run", False) as folder:
        keep = Kept(recipe, state, folder)
        for call in range(100):
            step(recipe, adam, mean, state)
            expected[state.step] = {name: array for name, array in mean.state_dict().items() if name != "updates"}
            lived = in_child(call, lambda: keep.save(adam, mean), how)
            if call or os.path.exists(tmp_path / "run" / "recipe.json"):
                checkpoint = Checkpoint.read(tmp_path / "run", layout=files.LAYOUT)
                at = checkpoint.state.step
                assert at in (state.step - 1, state.step)
                seen.add(at == state.step)
                for name, array in recipes.open_run(tmp_path / "run").model.parameters.items():
                    np.testing.assert_array_equal(array, expected[at][f"average.{name}"])
                again, optimizer, average, _ = trained(0, 0.9)
                Kept(again, checkpoint.state, checkpoint=checkpoint).restore(optimizer, average)
                assert optimizer.steps == average.updates == at
                folder.read()  # completes what the child left
            keep.save(adam, mean)
            if lived:
                break
    assert lived and call > 8 and seen == {True, False}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("old_files", [True, False])
def test_killed_while_it_overwrites_leaves_one_whole_run(tmp_path, old_files, how):
    old, adam, _, state = trained(0)
    with files.opened(tmp_path / "old", False) as folder:
        Kept(old, state, folder).save(adam)
    if not old_files:  # a run of an earlier minilm
        (tmp_path / "old" / "recipe.json").unlink()
    new, adam, _, state = trained(1)
    seen = set()
    for call in range(100):
        path = tmp_path / f"run{call}"
        shutil.copytree(tmp_path / "old", path)

        def overwrites():
            with files.opened(path, True) as folder:  # noqa: B023
                Kept(new, state, folder).save(adam)

        lived = in_child(call, overwrites, how)
        run = recipes.open_run(path)
        made = min((old, new), key=lambda each: not np.array_equal(each.model.parameters.flat, run.model.parameters.flat))
        seen.add(made is new)
        np.testing.assert_array_equal(made.model.parameters.flat, run.model.parameters.flat)
        assert run.facts == made.facts
        shutil.rmtree(path)
        if lived:
            break
    assert lived and call > 8 and seen == {True, False}


def test_train_leaves_a_half_done_commit_of_a_recipe_alone(tmp_path, monkeypatch):
    recipe, adam, _, state = trained(0)
    with files.opened(tmp_path, False) as folder, monkeypatch.context() as killed:
        killed.setattr(folder, "_rename", lambda *_: None)
        killed.setattr(files, "remove_stale", lambda *_: None)
        Kept(recipe, state, folder).save(adam)
    assert (tmp_path / ".model.safetensors.next").exists()
    assert cli.main(["train", "--out", str(tmp_path), "--overwrite", "--quiet", "--steps", "1"]) == 2
    np.testing.assert_array_equal(recipes.open_run(tmp_path).model.parameters.flat, recipe.model.parameters.flat)


def test_a_run_that_fails_before_its_first_checkpoint_leaves_the_old_one(tmp_path, monkeypatch):
    Toy(steps=5).run(out=tmp_path, progress=False)
    before = contents(tmp_path)
    monkeypatch.setattr(loop, "forward_backward", lambda *_: float("nan"))
    with pytest.raises(ArithmeticError):
        Toy(steps=9).run(out=tmp_path, overwrite=True, progress=False)
    assert contents(tmp_path) == before


def test_files_of_the_replaced_run_go(tmp_path):
    Toy(steps=3).run(out=tmp_path, progress=False)
    (tmp_path / "tokenizer.other.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    recipes.load("vectors")(sentences=300, size=4, steps=1).run(out=tmp_path, overwrite=True, progress=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tokenizer.words.json", "recipe.json", "metrics.json", "notes.txt"} <= names
    assert not {"optimizer.safetensors", "tokenizer.other.json", "tokenizer.letters.json"} & names
