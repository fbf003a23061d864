"""How far a recipe's run has come: what recipe.json holds. Everything that is not an array."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from minilm.ops import checks
from minilm.random import DROPOUT_KEYS
from minilm.training.state import Budget, sealed, unsealed

__all__ = ["RecipeState", "Row"]

FORMAT, VERSION = "minilm.recipe", 1


class Row(NamedTuple):
    """A line of log.csv."""

    step: int
    seconds: float
    lr: float
    loss: float  # mean since the row before
    metric: float | None


@dataclasses.dataclass
class RecipeState:
    """How far a recipe's run has come.

    Attributes
    ----------
    seed : int
    data : str or None
        The path of real data.
    data_sha256 : str
        Of the examples, see `minilm.recipes.resuming.fingerprint`: a run that is gone on with must read the same ones.
    step : int
        Steps taken.
    seconds : float
        Of training alone; what a budget in minutes counts.
    rows : list of Row
    losses : list of float
        Those since the last row.
    glanced : float
        The part of the run that was done at the last evaluation.
    place : dict
        Where a loop of a recipe's own stands; its fields are what JSON has.
    dropout_keys : int
        How `minilm.random.Key.at` numbered the places of dropout when the run was begun.
    """

    seed: int = 0
    data: str | None = None
    data_sha256: str = ""
    step: int = 0
    seconds: float = 0.0
    rows: list[Row] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    glanced: float = 0.0
    place: dict[str, Any] = dataclasses.field(default_factory=dict)
    dropout_keys: int = DROPOUT_KEYS

    def done(self, options: dict) -> float:
        """The part of the budget that is used up, 1 or more at the end."""
        minutes = options["minutes"]
        return Budget(options["steps"] if minutes is None else None, minutes).done(self.step, self.seconds)

    def to_json(self, files: dict[str, dict[str, Any]], version: str) -> bytes:
        """The content of recipe.json: this, what the checkpoint's files are, and a checksum of all that."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return sealed({"format": FORMAT, "version": VERSION, "minilm_version": version, **fields, "files": files})

    @classmethod
    def from_json(cls, content: bytes) -> tuple[RecipeState, dict[str, dict[str, Any]]]:
        """The state, and what the checkpoint's files are.

        Raises
        ------
        ValueError, TypeError, KeyError
            Saying what is wrong, without the file's name.
        """
        body = unsealed(content, FORMAT, VERSION)
        fields = {field.name: body[field.name] for field in dataclasses.fields(cls)}
        for name in ("seed", "step", "dropout_keys"):
            checks.whole(name, fields[name], 0, 2**63)
        for name in ("seconds", "glanced"):
            checks.number(name, fields[name], 0, math.inf)
        for name, kind in (("rows", list), ("losses", list), ("data_sha256", str), ("place", dict), ("files", dict)):
            value = body[name]
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__}, got {checks.describe(value)}")
        fields["losses"] = [float(loss) for loss in fields["losses"]]
        fields["rows"] = [_row(*row) for row in fields["rows"]]
        return cls(**fields), body["files"]


def _row(step, seconds, lr, loss, metric) -> Row:
    # numbers that are not finite are texts in JSON
    return Row(int(step), float(seconds), float(lr), float(loss), None if metric is None else float(metric))
