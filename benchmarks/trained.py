"""One run of minilm's own command, and what it measured: for the board and the table of results."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import Any

__all__ = ["measured", "trained"]


def trained(arguments: list[str]) -> None:
    """Run a command of minilm in this process, without what it prints; ValueError where it ends with another status than 0."""
    from minilm.cli import main as minilm

    with contextlib.redirect_stdout(io.StringIO()):
        status = minilm(arguments)
    if status:
        raise ValueError(f"minilm {' '.join(arguments)} ended with status {status}")


def measured(folder: str) -> dict[str, Any]:
    """What metrics.json of a run holds: ``metrics``, ``steps``, ``seconds``, and the ``chance`` of a guess in ``metric``."""
    with open(os.path.join(folder, "metrics.json"), encoding="utf-8") as file:
        return json.load(file)
