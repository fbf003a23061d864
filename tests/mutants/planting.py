"""A copy of the tree in which faults are planted, and the tests run."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.mutants.fault import ROOT, Fault, mutated

__all__ = ["Outcome", "copied_tree", "failing", "planted", "try_fault"]

NEEDED = ("minilm", "tests", "corpora", "benchmarks", "pyproject.toml", "setup.cfg", "setup.py", "README.md", "LICENSE")
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+\.py(?:::.*?)?)(?: - .*)?$", re.MULTILINE)
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_times = itertools.count(1)


class Outcome(NamedTuple):
    """What the tests said of a fault."""

    result: str  # "caught", "missed", "timeout", or "broken": the tests did not run
    test: str  # the first that failed, or the last line of what was printed
    seconds: float


@contextlib.contextmanager
def copied_tree() -> Iterator[pathlib.Path]:
    """A copy of what the tests need, gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="minilm-mutants-") as folder:
        root = pathlib.Path(folder)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            elif source.exists():
                shutil.copy2(source, root / name)
        yield root


@contextlib.contextmanager
def planted(fault: Fault, root: pathlib.Path) -> Iterator[None]:
    """Within the block the copy has the fault."""
    path = root / fault.file
    right = path.read_text(encoding="utf-8")
    _write(path, mutated(fault, root))
    try:
        yield
    finally:
        _write(path, right)


def _write(path: pathlib.Path, content: str) -> None:
    """Write a version of a file with a time of its own: by it and the size Python knows what a compiled file is made of."""
    path.write_text(content, encoding="utf-8")
    at = time.time() + next(_times)
    os.utime(path, (at, at))


def try_fault(fault: Fault, root: pathlib.Path, seconds: float) -> Outcome:
    """Plant a fault, and run its tests until the first that fails or until `seconds` have passed."""
    begin = time.perf_counter()
    with planted(fault, root):
        status, out = _pytest(root, ["-x", *fault.tests], seconds)
    spent = time.perf_counter() - begin
    failed = FAILED.findall(out)
    if status is None:
        return Outcome("timeout", "", spent)
    if status == 1 and failed:
        return Outcome("caught", failed[0], spent)
    if status == 0:
        return Outcome("missed", "", spent)
    if -(status or 0) in CRASHES:
        return Outcome("caught", f"the tests' process ended by signal {-status}", spent)
    return Outcome("broken", (failed or out.strip().splitlines() or [""])[-1], spent)


def failing(tests: list[str], root: pathlib.Path) -> set[str]:
    """Those of some tests that fail in the copy as it is."""
    return set(FAILED.findall(_pytest(root, tests, None)[1])) if tests else set()


def _pytest(root: pathlib.Path, arguments: list[str], seconds: float | None) -> tuple[int | None, str]:
    """Exit status, None if the time is over, and what was printed. Processes that the tests start see the copy too."""
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "--no-header", "-rfE", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "1000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=seconds)
        return process.returncode, out
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with what the tests have started
            process.wait()
