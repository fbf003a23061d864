"""What of Slurm a job script needs: sbatch, srun and scontrol, as programs of this machine in a folder for PATH.

They do what the manual pages say of the options that the book's script has. sbatch runs the script, gives it SIGUSR1 when a file
``signal`` appears (Slurm: 90 seconds before the time is over), and starts it again with SLURM_RESTART_COUNT where scontrol queued
it again. srun starts the ranks, and hands them the signals that it gets. ``log`` has a line for each thing that was done.
"""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

RANKS = 2


def log(line):
    with open("log", "a") as file:
        file.write(line + "\n")


def sbatch(script):
    lines = re.findall(r"^#SBATCH (.*)$", pathlib.Path(script).read_text(), re.M)
    options = dict(option.partition("=")[::2] for line in lines for option in line.split())
    where, _, seconds = options["--signal"].partition("@")
    assert where == "B:SIGUSR1" and int(seconds) >= 60 and "--requeue" in options and options["--open-mode"] == "append"
    for restart in range(5):
        job = {"SLURM_JOB_ID": "7", **({"SLURM_RESTART_COUNT": str(restart)} if restart else {})}
        log(f"start {restart}")
        with open("slurm-7.out", "a") as out:
            process = subprocess.Popen(["bash", script], env={**os.environ, **job}, stdout=out, stderr=out)
        told = False
        while process.poll() is None:
            if not told and os.path.exists("signal"):
                os.remove("signal")
                process.send_signal(signal.SIGUSR1)  # B: the script alone
                told = True
            time.sleep(0.02)
        if not os.path.exists("queued"):
            log(f"end {process.returncode}")
            return
        os.remove("queued")


def srun(*words):
    words = list(words)
    options = [words.pop(0) for _ in range(len(words)) if words[0].startswith("-")]
    assert "--kill-on-bad-exit=1" in options
    from tests.distributed.test_ends import ranks_of  # before the ranks are there: a signal may come as soon as they are

    command = [os.environ["MPIEXEC"], "-n", str(RANKS), *words]
    process = subprocess.Popen(command, env={**os.environ, "SLURM_STEP_NUM_TASKS": str(RANKS)}, stdin=subprocess.DEVNULL)

    def hand_on(number, frame):
        log("srun is signalled")
        for rank in ranks_of(process):
            os.kill(rank, number)

    signal.signal(signal.SIGUSR1, hand_on)
    sys.exit(process.wait())


def scontrol(action, job):
    assert (action, job) == ("requeue", "7")
    log("requeue")
    pathlib.Path("queued").touch()


def install(folder, root, mpiexec, more):
    """Write the commands into a folder, and a ``minilm`` with more options, whose ``--steps`` is what the file `steps` says."""
    folder.mkdir()
    commands = {name: f'-m tests.distributed.fake_slurm {name} "$@"' for name in ("sbatch", "srun", "scontrol")}
    commands["minilm"] = f'-m minilm "$@" {shlex.join(more)} --quiet --steps $(cat steps)'
    for name, command in commands.items():
        (folder / name).write_text(f"#!/bin/bash\nexec {sys.executable} {command}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "MPIEXEC": mpiexec, "PYTHONPATH": root}


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[sys.argv[1]](*sys.argv[2:])
