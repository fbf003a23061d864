"""A run's folder: half-done commits, processes that race for it, what killed ones leave, and links that others plant."""

import builtins
import errno
import importlib
import os

import pytest

from minilm import training
from minilm.training import run_folder as protocol
from minilm.training.train import _new
from tests.training.helpers import contents


@pytest.fixture
def half_done(tiny, tmp_path, monkeypatch):
    """A run that was killed after the commit of its last checkpoint, before the files had got their names; and its step."""
    trainer = _new(tiny(steps=40), tmp_path / "run", False)
    for _ in range(2):
        trainer.step(trainer.batches.batch(trainer.state.step))
        trainer.state.step += 1
    with monkeypatch.context() as killed:
        killed.setattr(protocol.Folder, "_rename", lambda *_: None)
        trainer.save()
    trainer.close()
    assert os.path.exists(tmp_path / "run" / ".model.safetensors.next")
    return tmp_path / "run"


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_overwrite_finishes_a_half_done_commit_first(half_done, tiny, monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr(protocol.Hashed, "write", fail)
    with pytest.raises(type(fault)):
        training.train(tiny(seed=3), out=half_done, overwrite=True)
    monkeypatch.undo()
    run = training.load_run(half_done)
    assert (run.state.step, run.config.seed) == (2, 0)
    assert not [name for name in os.listdir(half_done) if name.endswith(".next")]


def test_a_file_that_gets_its_name_while_it_is_looked_for(half_done, monkeypatch):
    """A reader looks under the plain name, then the writer renames, then the reader looks under the other one."""
    real = builtins.open

    def opened(path, *arguments, **options):
        if str(path).endswith(".next") and os.path.exists(path):
            os.replace(path, half_done / os.path.basename(path)[1:].removesuffix(".next"))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", opened)
    assert training.load_run(half_done).state.step == 2


def test_what_killed_processes_left_is_removed(tiny, tmp_path):
    training.train(tiny(), out=tmp_path)
    before = contents(tmp_path)
    left = (".model.safetensors.next", ".training.json.0123abcd.tmp", ".loss.png.deadbeef.tmp", ".sample.txt.00000000.tmp")
    for name in (*left, ".mine.tmp", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    training.train(out=tmp_path, resume=True)
    assert not set(left) & set(os.listdir(tmp_path))
    assert {".mine.tmp", "notes.txt"} <= set(os.listdir(tmp_path))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["log.csv", ".model.safetensors.next", "loss.png", "sample.txt", ".training.json.next"])
def test_a_planted_link_is_not_followed(name, tiny, tmp_path):
    (tmp_path / "target").write_bytes(b"somebody's")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "target")
    training.train(tiny(), out=tmp_path / "run")
    assert (tmp_path / "target").read_bytes() == b"somebody's"
    assert training.load_run(tmp_path / "run").state.step == 24
    assert len(training.read_log(tmp_path / "run")["step"]) == 9


def test_the_folder_is_looked_at_under_its_lock(tiny, tmp_path, monkeypatch):
    """While a run reads its text, no other can begin and end in the same folder, to be overwritten then without a word."""
    module = importlib.import_module("minilm.training.train")  # the function of the same name hides it
    real, refused = module.corpus_parts, []

    def reads(*arguments):
        monkeypatch.undo()
        with pytest.raises(ValueError, match="another process is training there") as error:
            training.train(tiny(seed=5), out=tmp_path / "run")
        refused.append(str(error.value))
        return real(*arguments)

    monkeypatch.setattr(module, "corpus_parts", reads)
    training.train(tiny(), out=tmp_path / "run")
    assert refused and training.load_run(tmp_path / "run").config.seed == 0


def test_every_run_without_a_name_gets_a_folder_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainers = [_new(tiny(), None, False) for _ in range(3)]
    assert [os.path.basename(trainer.folder.path) for trainer in trainers] == ["farm-lstm-1", "farm-lstm-2", "farm-lstm-3"]
    for trainer in trainers:
        trainer.close()


def test_a_run_that_does_not_begin_leaves_no_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for out in (None, tmp_path / "new", tmp_path / "there"):
        with pytest.raises(ValueError, match="needs at least"):
            training.train(tiny(time=100_000), out=out)
    assert sorted(os.listdir(tmp_path)) == ["there"]  # which was there before
