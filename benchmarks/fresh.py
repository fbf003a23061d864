"""Measurements that want a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

__all__ = ["measured", "surroundings"]


def surroundings() -> dict[str, str]:
    """The environment, in which minilm is found from its sources, installed or not."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def measured(module: str, *arguments) -> float:
    """Run ``python -m module`` with `arguments` as JSON in a fresh process; the number that it prints.

    Raises
    ------
    RuntimeError
        With the last line of what the process said.
    """
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings(), timeout=600)
    if done.returncode:
        raise RuntimeError(f"{arguments[1]} in {arguments[0]}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return float(done.stdout)
