"""What a machine may do to a run: nothing that stood is lost, one line says what happened, the run goes on with the same bits."""

import errno
import os
import shutil
import signal
import time

import pytest

from minilm import cli, training
from minilm.training.replay import read_record
from minilm.training.train import _new
from tests import clocks
from tests.training.helpers import contents


@pytest.fixture(scope="module")
def whole(tmp_path_factory, corpus):
    """What an undisturbed run of 24 steps gives."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    training.train(configuration(corpus), out=folder)
    return contents(folder)


def configuration(corpus, **more):
    options = {"corpus": corpus, "steps": 24, "batch": 4, "time": 16, "checkpoint_every": 5, "sample": {"tokens": 0}, **more}
    options["schedule"] = {"name": "constant"}
    return training.configuration(options={**options, "model": {"embedding_size": 6, "hidden_size": 10, "dropout": 0.2}})


class At(training.Callback):
    """Does something before a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_begin(self, loop):
        if loop.state.step == self.step:
            self.action()


def resumed(folder, whole):
    """The run goes on, and ends as the undisturbed one."""
    training.train(out=folder, resume=True)
    assert contents(folder) == whole


def in_one_line(folder, capsys, status=2):
    """The command tells of the fault in a line; the folder holds the checkpoint before it."""
    assert cli.main(["train", "--out", str(folder), "--resume", "--quiet"]) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("minilm: ")
    return lines[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_disk_that_fails(number, corpus, whole, tmp_path, monkeypatch, capsys):
    """When a run goes on."""
    training.train(configuration(corpus, steps=5), out=tmp_path / "run")

    def failing(descriptor):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        assert cli.main(["train", "--out", str(tmp_path / "run"), "--resume", "--steps", "24", "--quiet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and os.strerror(number) in lines[0] and str(tmp_path) in lines[0]
    assert training.load_run(tmp_path / "run").state.step == 5
    training.train(configuration(corpus), out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == whole


def test_a_slow_disk_and_a_clock_that_is_set_back(corpus, whole, tmp_path, monkeypatch):
    real, now = os.fsync, [time.time()]

    def slow(descriptor):
        time.sleep(0.01)
        real(descriptor)

    def backwards():
        now[0] -= 1000
        return now[0]

    monkeypatch.setattr(os, "fsync", slow)
    monkeypatch.setattr(time, "time", backwards)
    training.train(configuration(corpus), out=tmp_path / "run")
    assert contents(tmp_path / "run") == whole


REMOVED = {
    "the folder": shutil.rmtree,
    "the folder above it": lambda run: shutil.rmtree(run.parent),
    "all that is in it": lambda run: [path.unlink() for path in run.iterdir()],
    "the tokenizer and the log": lambda run: [(run / name).unlink() for name in ("tokenizer.json", "log.csv")],
    "its name": lambda run: run.rename(run.parent / "aside"),
}


@pytest.mark.parametrize("step", [7, 23])
@pytest.mark.parametrize("what", REMOVED)
def test_what_somebody_removes_in_mid_run_is_written_again(what, step, corpus, whole, tmp_path, capsys):
    run = tmp_path / "runs" / "one"
    training.train(configuration(corpus), out=run, callbacks=[At(step, lambda: REMOVED[what](run))], progress=True)
    assert contents(run) == whole and read_record(run).rows.keys() == set(range(1, 25))
    assert capsys.readouterr().err.count("were removed: they are written again") == 1


def test_a_signal_after_the_folder_went(corpus, whole, tmp_path):
    """What was learned since the last checkpoint is there all the same."""
    gone = At(7, lambda: (shutil.rmtree(tmp_path / "run"), signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(training.Stopped):
        training.train(configuration(corpus), out=tmp_path / "run", callbacks=[gone])
    assert training.load_run(tmp_path / "run").state.step == 8
    resumed(tmp_path / "run", whole)


def test_another_run_in_the_place_of_one_that_went(corpus, tmp_path, capsys):
    def replaced():
        shutil.rmtree(tmp_path / "run")
        training.train(configuration(corpus, steps=1), out=tmp_path / "run")

    with pytest.raises(FileExistsError, match=r"was removed while a run trained there, and holds training\.json of another one"):
        training.train(configuration(corpus), out=tmp_path / "run", callbacks=[At(7, replaced)])
    assert training.load_run(tmp_path / "run").state.step == 1


def test_out_of_memory(corpus, whole, tmp_path):
    def exhausted():
        raise MemoryError("unable to allocate 9 GiB")

    with pytest.raises(MemoryError):
        training.train(configuration(corpus), out=tmp_path / "run", callbacks=[At(7, exhausted)])
    assert training.load_run(tmp_path / "run").state.step == 5
    resumed(tmp_path / "run", whole)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="SIGSTOP is Unix's")
def test_stopped_and_continued(corpus, whole, tmp_path):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            waiting = At(7, lambda: (os.write(write, b"x"), time.sleep(0.2)))
            training.train(configuration(corpus), out=tmp_path / "run", callbacks=[waiting])
        finally:
            os._exit(0)
    os.read(read, 1)
    os.kill(child, signal.SIGSTOP)
    time.sleep(0.3)
    assert training.load_run(tmp_path / "run").state.step == 5  # whoever looks meanwhile sees a whole checkpoint
    os.kill(child, signal.SIGCONT)
    end = time.monotonic() + clocks.PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert contents(tmp_path / "run") == whole


def test_two_runs_in_one_folder(corpus, tmp_path, capsys):
    trainer = _new(configuration(corpus), tmp_path / "run", False)
    try:
        assert "another process is training there" in in_one_line(tmp_path / "run", capsys)
    finally:
        trainer.close()
