"""The job script of the book, on commands that play Slurm: told before its time is over it saves, queues itself, and goes on."""

import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

import minilm
from minilm import training
from tests.distributed import fake_slurm, launch
from tests.distributed.test_ends import step_of, wait_for
from tests.training.helpers import contents
from tests.training.test_killed import as_sets

CHAPTER = pathlib.Path(minilm.__file__).parent / "book" / "chapters" / "data-parallel.rst"


def job_script():
    (script,) = re.findall(r"^::\n\n((?: +#!/bin/bash\n)(?: +.*\n|\n)+)", CHAPTER.read_text(encoding="utf-8"), re.M)
    return textwrap.dedent(script)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("bash"), reason="bash, and ranks in /proc")
def test_a_job_that_runs_out_of_time_goes_on_where_it_was(tiny, tmp_path):
    config = tiny(steps=10**6, batch=8, checkpoint_every=None, schedule={"name": "constant"}, model={"dropout": 0.2})
    shutil.copy(config.corpus, tmp_path / "book.txt")
    settings = [word for word in as_sets(config) if not word.startswith(("--set", "corpus=", "steps=", "micro_shards="))]
    more = [word for setting in settings for word in ("--set", setting)]
    (tmp_path / "steps").write_text("1000000")
    (tmp_path / "job.sh").write_text(job_script())
    commands = fake_slurm.install(tmp_path / "bin", launch.ROOT, launch.mpiexec(), more)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(["sbatch", "job.sh"], cwd=tmp_path, env=launch.environment(**commands), **pipes)
    run, log = tmp_path / "runs" / "long", tmp_path / "log"
    wait_for(process, lambda: (run / "log.csv").exists() and len((run / "log.csv").read_text().splitlines()) > 2)
    (tmp_path / "signal").touch()
    wait_for(process, lambda: "requeue" in log.read_text())
    step = step_of(run)
    (tmp_path / "steps").write_text(str(step + 5))
    output, _ = process.communicate(timeout=600)
    said = (tmp_path / "slurm-7.out").read_text()
    assert process.returncode == 0, output + said
    assert f"stopped at step {step:,}, and saved" in said and step > 0
    assert log.read_text().split("\n")[:-1] == ["start 0", "srun is signalled", "requeue", "start 1", "end 0"]
    config = config.replace(steps=step + 5, micro_shards=8, corpus=str(tmp_path / "book.txt"))
    assert contents(run) == contents(training.train(config, out=tmp_path / "whole").folder)
