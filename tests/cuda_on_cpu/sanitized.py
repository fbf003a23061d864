"""Runs a program under AddressSanitizer or ThreadSanitizer, in a process of its own, since they must be there from its start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
RUNTIMES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
OPTIONS = {
    "address": {
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:exitcode=66",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    },
    # one report is wanted of every two lines that race, though others raced at the same address before, and all in a file, whose
    # growth tells which kernel gave it; each kernel is a library of its own, so that no stack equals that of another kernel
    "thread": {"TSAN_OPTIONS": "exitcode=0:halt_on_error=0:suppress_equal_stacks=1:suppress_equal_addresses=0"},
}
REPORTED = 66  # exit status of a program that ends with the first report


class Outcome(NamedTuple):
    """What the program left."""

    status: int
    output: str  # stdout and stderr


def missing() -> str | None:
    """What is missing to run anything here, or None."""
    if not shutil.which("g++"):
        return "g++ is not installed"
    if not shutil.which("setarch"):
        return "setarch (util-linux) is not installed"
    return None


def _runtime(name: str) -> str:
    return subprocess.run(["g++", f"-print-file-name={name}"], text=True, capture_output=True, check=True).stdout.strip()


def run(sanitizer: str, *arguments: str, seconds: float = 600, first: bool = False) -> Outcome:
    """``python arguments`` under a sanitizer, from the root of the checkout.

    ThreadSanitizer tells all races with their lines, or, quickly, ends the program at the `first`, with status `REPORTED`.
    """
    environment = {**os.environ, "LD_PRELOAD": " ".join(map(_runtime, RUNTIMES[sanitizer])), **OPTIONS[sanitizer]}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        if sanitizer == "thread":
            environment["TSAN_OPTIONS"] += f":log_path={folder}/report"
            environment["TSAN_OPTIONS"] += f":symbolize=0:halt_on_error=1:exitcode={REPORTED}" if first else ""
            environment["MINILM_TSAN_REPORTS"] = folder
        command = ["setarch", os.uname().machine, "-R", sys.executable, *arguments]  # gcc 12's runtime fears random addresses
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
        return Outcome(done.returncode, done.stdout + reports(folder))


def spare_children() -> None:
    """Called by the program: it has the sanitizer's runtime, and g++, which it starts, would take twice as long under it."""
    os.environ.pop("LD_PRELOAD", None)


def reports(folder: str | None = None) -> str:
    """All that ThreadSanitizer has reported so far."""
    folder = folder or os.environ["MINILM_TSAN_REPORTS"]
    return "".join(path.read_text(errors="replace") for path in sorted(Path(folder).glob("report*")))
