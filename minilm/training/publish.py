"""Hashes of a run that another machine can compare with its own: what it was, what it computed, and what its bits depend on."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from minilm.files import read_json
from minilm.training.config import BUDGETS
from minilm.training.provenance import DEPENDS, differences
from minilm.training.replay import Record
from minilm.training.settings import flattened
from minilm.typing import PathLike

__all__ = ["compare", "published", "read_published"]

FORMAT = "minilm.verify"
# What a run computes does not depend on these: where the text lies, when it is saved, and what is shown.
BESIDE = ("recipe", "corpus", *BUDGETS, "checkpoint_every", "checkpoint_seconds", "keep_every", "log_every", "sample")


def published(record: Record) -> dict[str, Any]:
    """The hashes of a run, as JSON can hold them."""
    state = record.state
    settings = {key: value for key, value in flattened(state.config.to_dict()).items() if key.partition(".")[0] not in BESIDE}
    if state.config.schedule.name == "cosine":  # the rate of a step depends on how many there will be
        settings |= {name: getattr(state.config, name) for name in BUDGETS}
    return {
        "format": FORMAT,
        "version": 1,
        "corpus_sha256": state.corpus_sha256,
        "settings": settings,
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "step": state.step,
        "losses": _losses(record),
        "weights": {str(step): files for step, files in record.weights().items()},
        "machine": state.machine or {},
        "bits_depend_on": list(DEPENDS),
    }


def _losses(record: Record) -> dict[str, str]:
    """The sha256 of rates, losses and norms of the first 1, 2, 4, ... steps and of all; none where the trace lacks the first."""
    digest, hashes, step = hashlib.sha256(), {}, 0
    while (row := record.rows.get(step + 1)) is not None:
        step += 1
        digest.update(np.array(row, "<f8").tobytes())
        if step & (step - 1) == 0 or step == record.state.step:
            hashes[str(step)] = digest.hexdigest()
    return hashes


def read_published(path: PathLike) -> dict[str, Any]:
    """What `published` gave, from a file; ValueError, naming it, if it is something else."""
    content = read_json(path)
    fields = {"settings": dict, "losses": dict, "weights": dict, "machine": dict, "corpus_sha256": str}
    wrong = [name for name, kind in fields.items() if not isinstance(content.get(name), kind)]
    if content.get("format") != FORMAT or wrong:
        what = f"{wrong[0] if wrong else 'format'} is wrong"
        raise ValueError(f"{os.fspath(path)} is not what `minilm verify --publish` prints: {what}")
    return content


def compare(own: dict[str, Any], other: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is equal in two runs' hashes, and what is not, a line each.

    Raises
    ------
    ValueError
        They are not of one run: another text, another setting, or no step in common.
    """
    if own["corpus_sha256"] != other["corpus_sha256"]:
        raise ValueError("the two runs are of different texts: their corpus_sha256 differ")
    if own["settings"].get("minutes") is not None:
        raise ValueError(
            "the rates of a budget in minutes follow the clock, so two machines never agree: give it --steps instead"
        )
    settings = differences(own["settings"], other["settings"])
    if settings:
        raise ValueError(f"the two runs have different settings: {'; '.join(settings)}")
    equal, unequal = [], []
    steps = sorted(map(int, own["losses"].keys() & other["losses"].keys()))
    if steps:
        wrong = [step for step in steps if own["losses"][str(step)] != other["losses"][str(step)]]
        before = max((step for step in steps if not wrong or step < wrong[0]), default=0)
        if before:
            equal.append(f"losses of steps 1 ... {before:,}")
        if wrong:
            unequal.append(f"losses: the first difference lies in steps {before + 1:,} ... {wrong[0]:,}")
    for step in sorted(map(int, own["weights"].keys() & other["weights"].keys())):
        for name, digest in own["weights"][str(step)].items():
            same = digest == other["weights"][str(step)].get(name)
            (equal if same else unequal).append(f"{name} of step {step:,}")
    if not equal and not unequal:
        raise ValueError("the two runs have no step in common whose losses or weights could be compared")
    return equal, unequal
