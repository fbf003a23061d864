"""A recipe's run replayed: the same steps from the same first weights, compared with what the run kept, bit for bit.

The folder says all that is needed: settings, seed, and the path and fingerprint of the data. Compared are the rows of the log but
for times (not of word vectors, which write rows by the clock), and the arrays of the last checkpoint: weights, moments, average.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

from minilm.data.pipes import on_disk
from minilm.files import Hashed
from minilm.recipes import folder as files
from minilm.recipes import registry, resuming, running
from minilm.recipes.kept import Kept
from minilm.recipes.state import RecipeState, Row
from minilm.training import snapshot
from minilm.training.checkpoint import Checkpoint
from minilm.training.device import active
from minilm.training.events import Callback
from minilm.training.log import Progress
from minilm.typing import PathLike

__all__ = ["Replayed", "replay"]


class Replayed(NamedTuple):
    """What a replay showed."""

    step: int  # of the last checkpoint
    rows: int  # of the log, that were compared
    arrays: list[str]  # files that were compared
    fault: str | None  # the first difference


class Until(Callback):
    """Ends training at a step: the one that a run had come to."""

    def __init__(self, step: int):
        self._step = step

    def on_step_end(self, loop: Any) -> None:
        if loop.state.step >= self._step:
            loop.stop()


class Compared(Kept):
    """Keeps nothing but the hashes of the arrays of the end."""

    def __init__(self, recipe: Any, state: RecipeState):
        super().__init__(recipe, state)
        self.hashes: dict[str, str] = {}

    def save(self, optimizer: Any = None, average: Any = None) -> bool:
        metadata = {"format": "np", "step": str(self.state.step)}
        if optimizer is None:
            writers = files.weights_writer(self.recipe, metadata)
        else:
            writers = snapshot.arrays_writers(self.recipe.model, optimizer, average, metadata)
        with open(os.devnull, "wb") as nowhere:
            for name, write in writers.items():
                hashed = Hashed(nowhere)
                write(hashed)
                self.hashes[name] = hashed.digest.hexdigest()
        return True


def replay(folder: PathLike) -> Replayed:
    """Train a recipe's run again, up to its last checkpoint, and compare.

    Raises
    ------
    FileNotFoundError, ValueError
        The run cannot be replayed: why, in one line.
    """
    folder = os.fspath(folder)
    checkpoint = Checkpoint.read(folder, layout=files.LAYOUT)
    state: RecipeState = checkpoint.state
    config = files.config_of(folder, checkpoint.contents[files.CONFIG])
    kind = registry.load(config["recipe"])
    recipe = kind(**kind.settled(config["options"]))
    _check(folder, recipe, state)
    again = Compared(recipe, RecipeState(state.seed, state.data))
    train, validation = running.examples(recipe, state.data and on_disk(state.data), again.state, None)
    resuming.check_data(state, resuming.fingerprint(train, validation), state.data or "the built-in data", folder)
    recipe.adapt(train)
    recipe.prepare(train)
    resuming.check_prepared(recipe, checkpoint)
    recipe.model = recipe.make_model(state.seed)
    watching = {"callbacks": [Until(state.step)]} if _in_steps(recipe) else {}
    with active("cpu", recipe.options["precision"]):
        recipe.fit(train, validation, seed=state.seed, progress=Progress(False, "examples"), kept=again, **watching)
    compared = sorted(set(again.hashes) & set(checkpoint.files))
    rows = state.rows if recipe.shared else []  # a loop of the kernel writes rows by the clock
    fault = _differing_rows(again.state.rows, rows) if recipe.shared else None
    fault = fault or _differing_arrays(again.hashes, checkpoint.files, state.step)
    return Replayed(state.step, len(rows), compared, fault)


def _check(folder: str, recipe: Any, state: RecipeState) -> None:
    """ValueError unless a run's steps follow from its settings alone."""
    minutes = recipe.options["minutes"]
    if minutes is not None:
        raise ValueError(f"{folder} cannot be replayed: its budget is {minutes:g} minutes, so its rates followed the clock")
    if not _in_steps(recipe) and state.done(recipe.options) < 1:
        loop = "in restarts" if recipe.shared else "in a loop of the kernel"
        raise ValueError(f"{folder} cannot be replayed before it has ended: the recipe {recipe.name} trains {loop}")


def _in_steps(recipe: Any) -> bool:
    """Whether a run can be trained up to any of its steps."""
    return recipe.shared and recipe.options["restarts"] == 1


def _differing_rows(rows: list[Row], expected: list[Row]) -> str | None:
    """The first row of the log that differs in more than its time."""
    for now, before in zip(rows, expected, strict=False):
        for name in ("step", "lr", "loss", "metric"):
            number, earlier = getattr(now, name), getattr(before, name)
            if number != earlier and not (isinstance(number, float) and math.isnan(number) and math.isnan(earlier)):
                raised = "; was the run's budget raised after it?" if name == "lr" else ""
                return f"row of step {before.step:,}: {name} is {number!r}, in the run it was {earlier!r}{raised}"
    if len(rows) != len(expected):
        return f"the log has {len(rows)} rows, in the run it had {len(expected)}"
    return None


def _differing_arrays(hashes: dict[str, str], expected: dict[str, dict], step: int) -> str | None:
    """The first file of arrays that would not be the one of the run."""
    for name, digest in hashes.items():
        if name in expected and digest != expected[name]["sha256"]:
            return f"step {step:,}: {name} has the sha256 {digest[:16]}..., in the run it was {expected[name]['sha256'][:16]}..."
    return None
