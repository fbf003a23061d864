"""Killed at any moment, a run's folder holds a whole checkpoint, and the run goes on from it bit for bit."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from minilm import training
from minilm.training import checkpoint as protocol
from minilm.training.callbacks import Stop
from minilm.training.train import _new, _resumed
from tests import clocks
from tests.disk_faults import HOW, in_child
from tests.training.helpers import contents, log_without_times

COMMAND = [sys.executable, "-m", "minilm", "train", "--quiet"]
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.usefixtures("undrawn", "unsynced"),
]


def as_sets(config):
    """A tiny configuration as the command line would be given it."""
    from minilm.training.settings import flattened

    found = []
    for key, value in flattened(config.to_dict()).items():
        if value is not None and key not in ("optimizer.betas", "model.model_type"):
            found += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    return [*found, "--set", "checkpoint_seconds=none"]


def wait_for(condition, process, seconds=clocks.PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_sigkill_at_random_moments(tiny, tmp_path):
    # So many steps that none of the processes ends by itself; with a constant rate their number decides nothing else.
    more = {"schedule": {"name": "constant"}, "average": 0.9, "evaluate_every": 50, "evaluate_tokens": 100}
    config = tiny(steps=10**6, checkpoint_every=3, model={"dropout": 0.2}, **more)
    folder, drawn = str(tmp_path / "killed"), random.Random(5)
    steps = [0]
    for kill in range(20):
        words = ["--resume"] if kill else as_sets(config)
        process = subprocess.Popen([*COMMAND, "--out", folder, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        state = os.path.join(folder, "training.json")
        if kill % 5 == 4:  # also while it starts
            time.sleep(drawn.uniform(0, 1))
        else:
            before = os.stat(state).st_mtime_ns if kill else 0
            wait_for(lambda: os.path.exists(state) and os.stat(state).st_mtime_ns != before, process)  # noqa: B023
            time.sleep(drawn.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        run = training.load_run(folder)  # raises if the set of files is not whole
        steps.append(run.state.step)
        assert steps[-1] % 3 == 0 and steps[-1] >= steps[-2]
    assert len(set(steps)) > 10  # the kills came while it trained
    config = config.replace(steps=steps[-1] + 50)
    training.train(config, out=folder, resume=True)
    reference = training.train(config, out=tmp_path / "whole")
    assert contents(folder) == contents(reference.folder)
    assert log_without_times(folder) == log_without_times(reference.folder)


@pytest.mark.parametrize("how", HOW)
def test_killed_at_every_call_of_a_checkpoint(tiny, tmp_path, how):
    """Exhaustive where the test above is random: between any two calls that write, the folder is whole."""
    config = tiny(steps=40, average=0.5)
    trainer = _new(config, tmp_path / "run", False)
    seen = set()
    for call in range(100):
        for _ in range(2):  # the next step; its checkpoint dies
            trainer.step(trainer.batches.batch(trainer.state.step))
            trainer.state.step += 1
        lived = in_child(call, trainer.save, how)
        run = training.load_run(tmp_path / "run")
        at_new = run.state.step == trainer.state.step
        seen.add(at_new)
        assert at_new or run.state.step == trainer.state.step - 2
        trainer.folder.read()  # completes what the child left
        names = os.listdir(tmp_path / "run")
        assert not at_new or not [name for name in names if name.endswith(".next")]
        trainer.save()
        assert training.load_run(tmp_path / "run").state.step == trainer.state.step
        if lived:
            break
    assert lived and call > 8 and seen == {True, False}
    trainer.close()


@pytest.mark.parametrize("how", HOW)
def test_killed_at_every_call_of_a_first_checkpoint(tiny, tmp_path, how):
    """A folder without a run stays one that a new run may take, until it holds a run; one with a run always has one."""
    config = tiny(steps=3)
    training.train(config, out=tmp_path / "old")
    old = contents(tmp_path / "old")
    for call in range(100):
        fresh, taken = tmp_path / f"fresh{call}", tmp_path / f"taken{call}"
        lived = in_child(call, lambda: _new(tiny(seed=1), fresh, False), how)  # noqa: B023
        if os.path.exists(fresh / "training.json"):
            training.load_run(fresh)
            _resumed(None, fresh).close()
        else:
            assert protocol.holds_run(fresh) is None
            _new(config, fresh, False).close()
        shutil.copytree(tmp_path / "old", taken)
        in_child(call, lambda: _new(tiny(seed=1), taken, True), how)  # noqa: B023
        run = training.load_run(taken)
        assert (run.state.step, run.config.seed) in ((3, 0), (0, 1))
        if run.config.seed == 0:
            assert contents(taken) == old
        _resumed(None, taken).close()
        if lived:
            break
    assert lived and call > 8


@pytest.mark.parametrize("how", HOW)
def test_killed_at_every_call_of_a_run_that_goes_on(tiny, tmp_path, how):
    """Whatever a resumed run meets, the folder holds one of its checkpoints, and ends as the run that met nothing."""
    config = tiny(steps=3, average=0.5)
    training.train(config, out=tmp_path / "begun")
    config, expected = config.replace(steps=5), tmp_path / "expected"
    shutil.copytree(tmp_path / "begun", expected)
    training.train(config, out=expected, resume=True)
    for call in range(100):
        folder = tmp_path / f"run{call}"
        shutil.copytree(tmp_path / "begun", folder)
        lived = in_child(call, lambda: training.train(config, out=folder, resume=True), how)  # noqa: B023
        assert training.load_run(folder).state.step in (3, 5)
        training.train(config, out=folder, resume=True)
        assert contents(folder) == contents(expected)
        assert log_without_times(folder) == log_without_times(expected)
        shutil.rmtree(folder)
        if lived:
            break
    assert lived and call > 8


def test_only_one_process_trains_in_a_folder(tiny, tmp_path):
    trainer = _new(tiny(), tmp_path, False)
    with pytest.raises(ValueError, match="another process is training there"):
        training.train(out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="another process is training there"):
        training.train(tiny(), out=tmp_path, overwrite=True)
    training.load_run(tmp_path)  # looking is allowed
    trainer.close()
    training.train(out=tmp_path, resume=True)


@pytest.mark.usefixtures("hangup_ends")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_ends(tiny, tmp_path, number):
    config, folder = tiny(steps=100_000, schedule={"name": "constant"}, log_every=100), str(tmp_path / "run")
    process = subprocess.Popen([*COMMAND, "--out", folder, *as_sets(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = os.path.join(folder, "log.csv")
    wait_for(lambda: os.path.exists(log) and os.path.getsize(log) > 200, process)  # it trains
    process.send_signal(number)
    out, error = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode == 128 + number and out == b""
    lines = error.decode().strip().splitlines()
    assert len(lines) == 1 and f"`minilm train --out {folder} --resume` goes on" in lines[0]
    stopped = training.load_run(folder).state
    assert stopped.step > 0 and f"stopped at step {stopped.step:,}, and saved" in lines[0]
    training.train(tiny(steps=stopped.step + 5, schedule={"name": "constant"}, log_every=100), out=folder, resume=True)
    assert training.load_run(folder).state.step == stopped.step + 5


def test_a_hangup_that_is_ignored_stays_so():
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)
