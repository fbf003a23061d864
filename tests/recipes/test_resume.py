"""A recipe's run that was stopped goes on bit for bit; killed at any moment, its folder holds a whole run."""

import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest

from minilm import cli, recipes, training
from minilm.models import word2vec_training
from minilm.ops import negative_sampling
from minilm.optimizers import AdamW, WeightAverage
from minilm.recipes import fit, kept
from minilm.recipes import folder as files
from minilm.recipes.kept import Kept
from minilm.recipes.resuming import fingerprint
from minilm.recipes.state import RecipeState
from minilm.training import loop
from minilm.training.checkpoint import Checkpoint
from tests import clocks
from tests.disk_faults import HOW, in_child
from tests.ops import gpu
from tests.recipes.test_sentiment import corpus
from tests.recipes.toy import Toy

CHECKPOINT = ("config.json", "model.safetensors", "optimizer.safetensors")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "toy", ("tests.recipes.toy", "Toy"))
    monkeypatch.setattr(files, "_plot", lambda *_: None)


def stop_after(monkeypatch, steps, number=signal.SIGTERM):
    """The next run gets a signal in its step of this number (the first call compiles)."""
    calls, real = itertools.count(), loop.forward_backward

    def signalled(*arguments):
        if next(calls) == steps:
            monkeypatch.setattr(loop, "forward_backward", real)
            os.kill(os.getpid(), number)
        return real(*arguments)

    monkeypatch.setattr(loop, "forward_backward", signalled)


def contents(folder):
    """The bytes of the files of a checkpoint by name, but for the times in recipe.json."""
    names = {*CHECKPOINT, *(path.name for path in folder.glob("tokenizer.*.json"))}
    assert len(names) > 3
    return {name: (folder / name).read_bytes() for name in names}


def rows(folder):
    """The log without its times."""
    return [[step, *rest] for step, _, *rest in (line.split(",") for line in (folder / "log.csv").read_text().splitlines())]


def same_run(one, other):
    assert contents(one) == contents(other)
    assert rows(one) == rows(other)
    measured = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert [{**each, "seconds": 0} for each in measured][0] == {**measured[1], "seconds": 0}
    assert (one / "samples.txt").read_bytes() == (other / "samples.txt").read_bytes()


SMALL = {"hidden_size": 8, "embedding_size": 8, "batch": 32, "evaluate_examples": 8}
RUNS = {
    "toy": ({"steps": 25, "average": 0.9}, False),  # ten steps are a pass
    "sentiment": ({**SMALL, "steps": 10, "word_dropout": 0.3, "dropout": 0.3}, True),
    "translate": ({**SMALL, "steps": 5, "examples": 120, "average": 0.5}, False),
}


@pytest.mark.parametrize("name", RUNS)
def test_stopped_and_resumed_equals_undisturbed(name, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "ROWS", 5)  # so that losses wait for their row while the run is stopped
    options, real = RUNS[name]
    data = corpus(tmp_path / "data") if real else None
    kind = recipes.load(name)
    kind(**options).run(data, out=tmp_path / "whole", seed=3, progress=False)
    stop_after(monkeypatch, 3, signal.SIGHUP)
    result = kind(**options).run(data, out=tmp_path / "run", seed=3, progress=False)
    assert (result.steps, result.stopped) == (3, signal.SIGHUP)
    stop_after(monkeypatch, 1)
    assert kind().run(out=tmp_path / "run", resume=True, progress=False).steps == 4
    result = kind().run(out=tmp_path / "run", resume=True, progress=False)
    assert (result.steps, result.stopped) == (options["steps"], None)
    same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_goes_on_on_a_gpu(tmp_path, monkeypatch):
    options = {"steps": 6, "average": 0.5}
    with gpu.emulated():
        Toy(**options).run(out=tmp_path / "whole", device="cuda", progress=False)
        stop_after(monkeypatch, 3)
        assert Toy(**options).run(out=tmp_path / "run", device="cuda", progress=False).steps == 3
        shutil.copytree(tmp_path / "run", tmp_path / "host")
        Toy().run(out=tmp_path / "run", device="cuda", resume=True, progress=False)
    same_run(tmp_path / "run", tmp_path / "whole")
    assert Toy().run(out=tmp_path / "host", resume=True, progress=False).steps == 6


@pytest.mark.parametrize("calls", [4, 3])  # within the second pass over the text, which takes three; and between two
def test_vectors_go_on_at_their_place_in_the_text(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(word2vec_training, "CHUNK", 1000)
    kind = recipes.load("vectors")
    monkeypatch.setattr(kind, "pictures", lambda *_: [])
    options = {"sentences": 300, "size": 6, "steps": 5, "min_count": 1}
    with clocks.stopped() as clock:  # every call of the kernel is told of
        real = negative_sampling.train
        monkeypatch.setattr(negative_sampling, "train", clock.after(1, real))
        kind(**options).run(out=tmp_path / "whole", seed=3, progress=False)
        for _ in range(2):
            count = itertools.count()

            def stops(*arguments, **more):
                if next(count) == calls:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGTERM)
                clock.advance(1)
                return real(*arguments, **more)

            monkeypatch.setattr(negative_sampling, "train", stops)
            resume = os.path.exists(tmp_path / "run")
            result = kind(**({} if resume else options)).run(out=tmp_path / "run", seed=3, resume=resume, progress=False)
        assert result.seconds == 2 * calls
        monkeypatch.setattr(negative_sampling, "train", clock.after(1, real))
        assert kind().run(out=tmp_path / "run", resume=True, progress=False).steps == 5
    for name in ("model.safetensors", "log.csv", "config.json", "metrics.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_stream_begins_at_any_step():
    examples = list(range(23))
    whole = list(itertools.islice(fit.stream(examples, 4, lambda n: n % 5, 7, 0), 20))
    for step in range(18):
        assert list(itertools.islice(fit.stream(examples, 4, lambda n: n % 5, 7, step), 2)) == whole[step : step + 2]


def test_the_last_checkpoint_of_a_run_that_died_is_gone_on_with(tmp_path, monkeypatch):
    options = {"steps": 12, "average": 0.5}
    Toy(**options).run(out=tmp_path / "whole", progress=False)
    assert kept.SECONDS == 30
    with clocks.stopped() as clock, monkeypatch.context() as patch:
        calls, real = itertools.count(), clock.after(10, loop.forward_backward)

        def dies(*arguments):
            if next(calls) == 8:
                raise MemoryError("as if it were killed")
            return real(*arguments)

        patch.setattr(loop, "forward_backward", dies)
        with pytest.raises(MemoryError):
            Toy(**options).run(out=tmp_path / "run", progress=False)
    state = Checkpoint.read(tmp_path / "run", layout=files.LAYOUT).state
    assert (state.step, state.seconds) == (5, 50)  # of the seven that were taken, and the call that compiles
    recipes.open_run(tmp_path / "run").answer("abc")
    assert Toy().run(out=tmp_path / "run", resume=True, progress=False).steps == 12
    same_run(tmp_path / "run", tmp_path / "whole")


def test_a_folder_that_somebody_removes_in_mid_run_is_made_again(tmp_path, monkeypatch):
    class Removes(training.Callback):
        def on_step_begin(self, loop):
            if loop.state.step == 20:
                shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr("minilm.recipes.kept.SECONDS", 0.0)  # a checkpoint after every step
    for name, callbacks in (("whole", []), ("run", [Removes()])):
        Toy(steps=25).run(out=tmp_path / name, callbacks=callbacks)
    same_run(tmp_path / "run", tmp_path / "whole")


def test_minutes_used_count(tmp_path, monkeypatch):
    with clocks.stopped() as clock:
        monkeypatch.setattr(loop, "forward_backward", clock.after(1, loop.forward_backward))
        stop_after(monkeypatch, 20)
        assert Toy().run(minutes=1, out=tmp_path, progress=False).steps == 20
        result = Toy().run(out=tmp_path, resume=True, progress=False)
        assert (result.steps, result.seconds) == (60, 60)
        assert Toy().run(minutes=1.5, out=tmp_path, resume=True, progress=False).steps == 90
        assert Toy().run(steps=95, out=tmp_path, resume=True, progress=False).steps == 95


def test_a_finished_run_is_measured_again_and_takes_a_larger_budget(tmp_path, capsys):
    folder = tmp_path / "run"
    Toy(steps=15).run(out=folder, progress=False)
    whole = contents(folder)
    (folder / "metrics.json").unlink()
    assert cli.main(["recipe", "toy", "--out", str(folder), "--resume"]) == 0
    assert "has had its budget, 15 steps" in capsys.readouterr().err
    assert contents(folder) == whole
    assert cli.main(["recipe", "toy", "--out", str(folder), "--resume", "--steps", "20"]) == 0
    printed = capsys.readouterr()
    assert "resumed after 15 steps" in printed.err and "20 steps" in printed.out
    assert json.loads((folder / "config.json").read_text())["options"]["steps"] == 20


def test_rows_that_are_left_out_stay_so(tmp_path, monkeypatch):
    stop_after(monkeypatch, 2)
    Toy(bad_rows="skip").run(out=tmp_path, progress=False)
    recipe = Toy()
    recipe.run(steps=3, out=tmp_path, resume=True, progress=False)
    assert recipe.bad_rows.skip


# --- killed ---------------------------------------------------------------------------------------------------------------


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


# --- refusals -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of words in a file, with three of its five steps taken, beside other folders."""
    base = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        (base / "words").write_text("ab\nba\nba\ncd\ncd\ndc\ndc\nab\n")
        (base / "others").write_text("ab\nba\nba\ncd\ncd\ndc\ndc\nda\n")
        stop_after(patch, 3)
        Toy(steps=5).run(base / "words", out=base / "run", seed=4, progress=False)
        shutil.copytree(base / "run", base / "old")
        (base / "old" / "recipe.json").unlink()
        for name, content in (("damaged", b"{"), ("cut", None)):
            shutil.copytree(base / "run", base / name)
            path = base / name / ("recipe.json" if content else "optimizer.safetensors")
            path.write_bytes(content or path.read_bytes()[:-1])
        (base / "empty").mkdir()
    return base


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("toy --out run --set lr=0.5", "lr is 0.05 there, got 0.5; what may change is steps and minutes"),
        ("toy --out run --bad-rows skip", "bad_rows is 'refuse' there, got 'skip'"),
        ("toy --out run --seed 5", "seed is 4 there, got 5"),
        ("toy --out run --data others", "others are not the examples that"),
        ("sentiment --out run", "holds a run of the recipe toy"),
        ("toy --out empty", "there is no run in"),
        ("toy --out missing", "there is no folder"),
        ("toy --out old", "an earlier minilm wrote this run"),
        ("toy --out damaged", "recipe.json is damaged: it is not JSON"),
        ("toy --out cut", "optimizer.safetensors is damaged"),
        ("toy --out run --overwrite", "one of them"),
        ("toy", "--resume needs --out"),
        ("vectors --out run", "holds a run of the recipe toy"),
    ],
)
def test_what_cannot_go_on_is_refused_in_one_line(stopped, capsys, monkeypatch, argv, says):
    monkeypatch.chdir(stopped)
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.is_file()}
    status = cli.main(["recipe", *argv.split(), "--resume", "--quiet"])
    printed = capsys.readouterr()
    assert status == 2 and says in printed.err and printed.err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.is_file()} == before


def test_an_old_run_and_equal_settings_are_welcome(stopped, capsys, tmp_path):
    recipes.open_run(stopped / "old").answer("ab")
    shutil.copytree(stopped / "run", tmp_path / "run")
    argv = ["--out", str(tmp_path / "run"), "--resume", "--quiet", "--set", "lr=0.05", "--seed", "4"]
    assert cli.main(["recipe", "toy", "--data", str(stopped / "words"), *argv]) == 0
    assert "5 steps" in capsys.readouterr().out


def test_a_vocabulary_of_another_folder_is_not_read(stopped, capsys, tmp_path):
    shutil.copytree(stopped / "old", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "vocabularies": ["x/../../words"]}))
    assert cli.main(["try", str(tmp_path / "run"), "a"]) == 2
    assert "is no file of a recipe's run" in capsys.readouterr().err


def test_the_stopped_command_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    stop_after(monkeypatch, 3, signal.SIGINT)
    assert cli.main(["recipe", "toy", "--out", str(tmp_path / "run"), "--quiet"]) == 130
    assert f"`minilm recipe toy --out {tmp_path / 'run'} --resume` goes on" in capsys.readouterr().err
