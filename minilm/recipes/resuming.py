"""Going on with a recipe's run: whether that is the run, and the data are those, that the caller means."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from minilm.recipes import folder as files
from minilm.recipes.state import RecipeState
from minilm.training.checkpoint import Checkpoint
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.recipes.base import Recipe

__all__ = ["check_data", "check_prepared", "fingerprint", "require_run", "take_settings"]

BUDGETS = ("steps", "minutes")  # all that may change


def require_run(path: PathLike) -> None:
    """Raise unless the folder holds a run that can be gone on with; no folder is made.

    Raises
    ------
    FileNotFoundError, ValueError
    """
    path = os.fspath(path)
    if files.lacks_checkpoint(path):
        raise ValueError(
            f"{path} has a model, and nothing that training goes on from: it is an export, or an earlier minilm's run; "
            "--overwrite starts it anew"
        )
    Checkpoint.read(path, (), files.LAYOUT)


def take_settings(recipe: Recipe, checkpoint: Checkpoint, seed: int | None) -> None:
    """Give a recipe the settings of a run; those that the caller gave may change no more than its budget.

    Raises
    ------
    ValueError
        Naming the setting; or the run is one of another recipe.
    """
    config = files.config_of(checkpoint.folder, checkpoint.contents[files.CONFIG])
    if config["recipe"] != recipe.name:
        raise ValueError(f"{checkpoint.folder} holds a run of the recipe {config['recipe']}, and not of {recipe.name}")
    stored = config["options"]
    chosen = {key: recipe.options[key] for key in recipe.chosen}
    changed = [(key, stored.get(key), value) for key, value in chosen.items() if key not in BUDGETS and value != stored.get(key)]
    if seed is not None and seed != checkpoint.state.seed:
        changed.append(("seed", checkpoint.state.seed, seed))
    for key, old, new in changed:
        raise ValueError(
            f"--resume goes on with the run's own settings: {key} is {old!r} there, got {new!r}; "
            f"what may change is {' and '.join(BUDGETS)}"
        )
    budget = {key: chosen[key] for key in BUDGETS if key in chosen}
    if "steps" in budget:
        budget = {"minutes": None, **budget}
    recipe.__init__(**recipe.settled({**stored, **budget}))
    recipe.recall(config["facts"], files.vocabularies(checkpoint.folder, config, checkpoint.contents))


def check_data(state: RecipeState, examples: str, named: str, path: str) -> None:
    """ValueError unless the examples' fingerprint is that of the run's."""
    if examples != state.data_sha256:
        raise ValueError(
            f"{named} are not the examples that {path} was trained on: sha256 {examples[:16]}..., "
            f"wanted {state.data_sha256[:16]}..."
        )


def check_prepared(recipe: Recipe, checkpoint: Checkpoint) -> None:
    """ValueError unless this minilm makes of the data what the one did that began the run."""
    prepared = {name: _content(write) for name, write in files.vocabulary_writers(recipe).items()}
    stored = {name: content for name, content in checkpoint.contents.items() if name in prepared or name.startswith("tokenizer.")}
    facts = files.config_of(checkpoint.folder, checkpoint.contents[files.CONFIG])["facts"]
    if prepared != stored or json.loads(json.dumps(recipe.facts)) != facts:
        raise ValueError(
            f"{checkpoint.folder}: this minilm makes other vocabularies of the data than the one that began the run, "
            "which cannot go on; --overwrite starts it anew"
        )


def fingerprint(*parts: Iterable) -> str:
    """The sha256 of the examples, part by part, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        for example in part:
            content = example.tobytes() if isinstance(example, np.ndarray) else repr(example).encode("utf-8", "backslashreplace")
            digest.update(len(content).to_bytes(8, "little") + content)
        digest.update(b"end of part")
    return digest.hexdigest()


def _content(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()
