"""Whether instructions work here that minilm was written without: they are tried once, in a process of its own.

The kernels for AMX were compiled, and their arithmetic simulated, on processors that lack it. Where a processor has it, a child
process multiplies small matrices by it and looks at the numbers. A wrong one, or a signal such as SIGILL, ends that process and
not the user's: then a warning says so, and the next best instructions are used. The answer is kept beside the compiled kernels,
for this processor, these sources and these versions.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import pickle
import platform
import signal
import subprocess
import sys
import warnings

import llvmlite.binding

from minilm.compiled import kernel_cache

__all__ = ["passes"]

RUNNING = "MINILM_TRIAL"  # set in the child, where the instructions are used without a trial
SECONDS = 120


@functools.cache
def passes(module: str) -> bool:
    """Whether ``python -m module`` with MINILM_ISA=amx ends with status 0: now, or when it was run before.

    Parameters
    ----------
    module : str
        Such as "minilm.ops.bfloat16.trial". It raises where a number is wrong.
    """
    if os.environ.get(RUNNING):
        return True
    path = os.path.join(kernel_cache.folder(), f"{module}.{_key(module)}")
    problem = kernel_cache.read(path)
    if problem is None:
        problem = _tried(module)
        kernel_cache.write(path, pickle.dumps(problem))
    if problem:
        message = f"AMX is not used, since {module} {problem}: other instructions take its place"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return not problem


def _tried(module: str) -> str:
    """What went wrong in a trial, or ""."""
    environment = {**os.environ, "MINILM_ISA": "amx", RUNNING: "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"could not be run ({type(error).__name__})"
    if done.returncode < 0:
        return f"was ended by {signal.Signals(-done.returncode).name}"
    last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
    return f"failed ({last[0]})" if done.returncode else ""


def _key(module: str) -> str:
    """A name for all that the answer may depend on: the processor, the versions, the sources beside the trial's."""
    folder = pathlib.Path(__file__).parents[2].joinpath(*module.split(".")[:-1])
    processor = [llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten(), platform.release()]
    parts = [kernel_cache.VERSIONS, *processor, *(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
