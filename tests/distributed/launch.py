"""Starting ranks: mpiexec of the environment that the tests run in, or the reason why there is none."""

import os
import shutil
import subprocess
import sys

import pytest

import minilm

ROOT = os.path.dirname(os.path.dirname(minilm.__file__))


def mpiexec():
    """The launcher that came with the MPI that mpi4py loads: beside Python, beside mpi4py's own prefix, or on the path."""
    mpi4py = pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install 'minilm[mpi]'")
    prefix = os.path.join(os.path.dirname(mpi4py.__file__), *[os.pardir] * 4)
    for folder in (os.path.dirname(sys.executable), os.path.join(prefix, "bin"), None):
        path = shutil.which("mpiexec", path=folder and os.path.realpath(folder))
        if path is not None:
            return path
    pytest.skip("there is no mpiexec: pip install 'minilm[mpi]'")


def environment(**more):
    """Ranks that share two cores, and would not gain by more threads."""
    return {**os.environ, "MINILM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ROOT, **more}


def start(ranks, *words, **more):
    """`python *words` on so many ranks: a Popen whose output is text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "stdin": subprocess.DEVNULL}
    command = [mpiexec(), "-n", str(ranks), sys.executable, *map(str, words)]
    return subprocess.Popen(command, env=environment(**more), **pipes)


def run(ranks, *words, **more):
    """What `python *words` on so many ranks prints; it must end with status 0."""
    process = start(ranks, *words, **more)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output
