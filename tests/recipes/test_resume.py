"""A recipe's run that was stopped goes on bit for bit, or is refused in one line."""

import itertools
import json
import os
import shutil
import signal

import pytest

from minilm import cli, recipes, training
from minilm.models import word2vec_training
from minilm.ops import negative_sampling
from minilm.recipes import fit, kept
from minilm.recipes import folder as files
from minilm.training import loop
from minilm.training.checkpoint import Checkpoint
from tests import clocks
from tests.ops import gpu
from tests.recipes.test_sentiment import corpus
from tests.recipes.toy import Toy

pytestmark = pytest.mark.usefixtures("toy", "unplotted")

CHECKPOINT = ("config.json", "model.safetensors", "optimizer.safetensors")


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


@pytest.mark.usefixtures("hangup_ends")
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
        ("toy --out old", "old has a model, and nothing that training goes on from"),
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
