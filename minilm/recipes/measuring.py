"""A recipe's run measured again: on the data that it was trained on, or on others."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from minilm.recipes import folder as files
from minilm.recipes import resuming, running
from minilm.recipes.state import RecipeState
from minilm.training.checkpoint import Checkpoint
from minilm.typing import PathLike

__all__ = ["SPLITS", "Measured", "measure"]

SPLITS = ("validation", "train", "all")
BUILT_IN = "the built-in data"


class Measured(NamedTuple):
    """What a recipe's model reached on some examples."""

    data: str  # where they are from
    split: str
    examples: int
    metrics: dict[str, float]
    chance: float  # what a guess reaches in the main metric


def measure(recipe: Any, folder: PathLike, data: PathLike | None = None, split: str | None = None) -> Measured:
    """The metrics of a run's model.

    Parameters
    ----------
    recipe : Recipe
        Of the run, with its trained model: see `minilm.recipes.open_run`.
    folder : str or os.PathLike
        Of the run.
    data : str or os.PathLike, optional
        Other data, in the form that the recipe's `read` tells; the run's own without it.
    split : {"validation", "train", "all"}, optional
        Which part of them: the one that is kept for validation, or all of a file of other data, without it.

    Raises
    ------
    FileNotFoundError
    ValueError
        The run's own data are no longer those, or not known; other data cannot be read, or have no such examples.
    """
    if data is None:
        named, (train, validation) = _own(recipe, os.fspath(folder))
    else:
        named, (train, validation) = os.fspath(data), recipe.read_real(data)
    if split is None:
        split = "validation" if data is None or os.path.isdir(data) else "all"
    train = recipe.measurable(train)
    parts = {"validation": validation, "train": train, "all": [*train, *validation]}
    if split not in parts:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    examples = parts[split]
    if not examples:
        raise ValueError(f"{named}: nothing of its part {split!r} can be measured")
    return Measured(named, split, len(examples), recipe.evaluate(examples), recipe.chance(examples))


def _own(recipe, folder: str) -> tuple[str, tuple[list, list]]:
    """What the run's data are called, and their parts."""
    if files.lacks_checkpoint(folder):
        raise ValueError(f"{folder} does not say what data its model was trained on: --data PATH")
    state: RecipeState = Checkpoint.read(folder, (), files.LAYOUT).state
    named = state.data or BUILT_IN
    train, validation = running.examples(recipe, state.data, RecipeState(state.seed), None)
    try:
        resuming.check_data(state, resuming.fingerprint(train, validation), named, folder)
    except ValueError as error:
        raise ValueError(f"{error}; --data PATH names others") from None
    return named, (train, validation)
