"""All ranks end together: a rank that is killed or fails, a signal, a job that is started again; and what is left can go on."""

import os
import random
import signal
import sys
import time

import pytest

from minilm import training
from tests import clocks
from tests.distributed import launch
from tests.training.helpers import contents
from tests.training.test_killed import as_sets

TRAIN = ("-m", "minilm", "train", "--quiet")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the ranks in /proc")


@pytest.fixture
def endless(tiny):
    """So long a run that it ends only because it is ended."""
    more = {"schedule": {"name": "constant"}, "batch": 8, "micro_shards": 4}
    return tiny(steps=10**6, checkpoint_every=3, model={"dropout": 0.2}, **more)


def ranks_of(launcher):
    """The processes that train, children of children of the launcher: their ids, by rank."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    proxies = [process for process, parent in parents.items() if parent == launcher.pid]
    return sorted(process for process, parent in parents.items() if parent in proxies)


def step_of(folder):
    try:
        return training.load_run(folder).state.step
    except (OSError, ValueError):
        return -1


def wait_for(process, condition):
    end = time.monotonic() + clocks.PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def trained_on(process, folder, steps):
    """Wait until a checkpoint is so many steps on."""
    before = step_of(folder)
    wait_for(process, lambda: step_of(folder) >= before + steps)


def kill_and_resume(endless, tmp_path, kills, seed):
    """Kill one rank again and again, with another number of ranks each time; then the run ends as one that was left alone."""
    folder, drawn = tmp_path / "killed", random.Random(seed)
    longest = 0.0
    for kill in range(kills):
        count = drawn.choice([2, 3, 4])
        words = ["--resume"] if kill else as_sets(endless)
        process = launch.start(count, *TRAIN, "--out", folder, *words)
        trained_on(process, folder, 3)
        time.sleep(drawn.uniform(0, 0.2))
        ranks = ranks_of(process)
        assert len(ranks) == count
        os.kill(drawn.choice(ranks), signal.SIGKILL)
        began = time.monotonic()
        output, _ = process.communicate(timeout=clocks.PATIENCE)
        longest = max(longest, time.monotonic() - began)
        assert process.returncode != 0, output
        assert not set(ranks) & {int(name) for name in os.listdir("/proc") if name.isdigit()}
    config = endless.replace(steps=step_of(folder) + 5)
    training.train(config, out=folder, resume=True)
    assert contents(folder) == contents(training.train(config, out=tmp_path / "whole").folder)
    return longest


def test_a_killed_rank_ends_the_job_and_the_run_goes_on(endless, tmp_path):
    kill_and_resume(endless, tmp_path, 1, seed=1)


@pytest.mark.slow
def test_fifty_killed_ranks(endless, tmp_path):
    longest = kill_and_resume(endless, tmp_path, 50, seed=2)
    print(f"a job ended {longest:.2f} s after the kill at the latest")
    assert longest < 10


@pytest.mark.parametrize("number", [signal.SIGUSR1, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_all_ranks_at_one_step(endless, tmp_path, number):
    folder = tmp_path / "run"
    process = launch.start(2, *TRAIN, "--out", folder, *as_sets(endless.replace(checkpoint_every=None)))
    wait_for(process, lambda: (folder / "log.csv").exists() and len((folder / "log.csv").read_text().splitlines()) > 2)
    os.kill(ranks_of(process)[1], number)  # one rank alone gets it
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    step = step_of(folder)
    assert f"minilm: stopped at step {step:,}, and saved" in output and output.count("stopped at step") == 1
    assert step > 0 and process.returncode != 0
    config = training.load_run(folder).config.replace(steps=step + 4)
    training.train(config, out=folder, resume=True)
    assert contents(folder) == contents(training.train(config, out=tmp_path / "whole").folder)


def test_a_job_that_is_started_again_goes_on(tiny, tmp_path):
    sets = as_sets(tiny(steps=6, batch=8, micro_shards=4))
    command = [*TRAIN, "--out", tmp_path / "run", *sets]
    launch.run(2, *command, "--requeue")
    before = contents(tmp_path / "run")
    launch.run(2, *command, SLURM_RESTART_COUNT="1")  # as Slurm says it
    assert contents(tmp_path / "run") == before


FAILING = """
import sys
from minilm import distributed, training

class Fails(training.Callback):
    def on_step_end(self, loop):
        if loop.state.step == 3 and distributed.current().rank == int(sys.argv[2]):
            raise OSError(28, "No space left on device", "somewhere")

with distributed.job():
    config = training.load_run(sys.argv[1]).config
    training.train(config, out=sys.argv[1], resume=True, callbacks=[Fails()])
"""


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_fails_ends_the_job_with_one_line(tiny, tmp_path, rank):
    folder = tmp_path / "run"
    config = tiny(steps=1, batch=8, micro_shards=2)
    training.train(config, out=folder)
    training.train(config.replace(steps=10**6), out=folder, resume=True, callbacks=[_Stops()])
    process = launch.start(2, "-c", FAILING, folder, rank)
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode != 0
    lines = [line for line in output.splitlines() if line.startswith("minilm: ")]
    assert len(lines) == 1 and f"rank {rank} of 2" in lines[0] and "No space left on device" in lines[0], output
    assert step_of(folder) == 2


class _Stops(training.Callback):
    def on_step_end(self, loop):
        loop.stop()


def test_more_ranks_than_micro_shards_are_refused(tiny, tmp_path):
    process = launch.start(3, *TRAIN, "--out", tmp_path / "run", *as_sets(tiny(batch=4, micro_shards=2)))
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode == 2
    assert output.count("minilm:") == 1 and "micro_shards must be at least 3" in output
    assert not (tmp_path / "run").exists()


DIFFERENT = """
import sys
from minilm import distributed, recipes, training

with distributed.job() as communicator:
    out, corpus, what = sys.argv[1:]
    changed = {what: 5} if communicator.rank else {}
    if what == "data":
        table = "".join(f"a text {i}\\t{i % 2}\\n" for i in range(20 + communicator.rank))
        with open(f"{out}-{communicator.rank}.tsv", "w") as file:
            file.write("sentence\\tlabel\\n" + table)
        recipes.load("sentiment")(steps=2, batch=4).run(file.name, out=out, progress=False)
    elif what == "hidden_size":
        recipes.load("sentiment")(steps=2, batch=4, **changed).run(out=out, progress=False)
    else:
        options = {"corpus": corpus, "steps": 2, "batch": 4, **changed}
        training.train(training.configuration(options=options), out=out)
"""


@pytest.mark.parametrize("what", ["seed", "hidden_size", "data"])
def test_ranks_that_were_given_something_else_are_refused(tiny, tmp_path, what):
    process = launch.start(2, "-c", DIFFERENT, tmp_path / "run", tiny().corpus, what)
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode == 2, output
    assert output.count("minilm:") == 1 and f"rank 1 has another {what} than rank 0, " in output, output
    assert not (tmp_path / "run").exists()


def test_a_loop_that_shares_nothing_is_refused():
    program = """
import numpy as np
from minilm import data, distributed, models, optimizers, training
with distributed.job():
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=8), seed=0)
    batches = data.batches(np.arange(100) % 7, batch=4, time=5)
    training.Loop(model, optimizers.Adam(model.parameters), batches, steps=5).run()
"""
    process = launch.start(2, "-c", program)
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode != 0 and "Loop trains in one process, and this job has 2" in output


@pytest.mark.slow
def test_a_rank_that_says_nothing_ends_the_job(endless, tmp_path):
    """As on a host whose network is gone: the launcher still sees a process, and the others hear nothing of it."""
    process = launch.start(2, *TRAIN, "--out", tmp_path / "run", *as_sets(endless))
    trained_on(process, tmp_path / "run", 3)
    os.kill(ranks_of(process)[1], signal.SIGSTOP)
    began = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert "nothing was heard of rank 1 for 8 s" in output
    assert time.monotonic() - began < 12
