"""The settings of a recipe: what they are by default, which values they may have, and who has set them.

A setting that the user has not set may be suggested by the data (`Settings.suggest`); one that changes nothing with the others
is refused (`Settings.refuse_idle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minilm.mistaken import did_you_mean
from minilm.ops import checks

__all__ = ["COMMON", "Settings"]

COMMON: dict[str, Any] = {  # what `minilm.recipes.fit` reads
    "batch": 32,
    "lr": 1e-3,
    "steps": 1000,
    "minutes": None,  # the budget instead of `steps`, where it is given
    "warmup": 0.05,  # part of the budget
    "final": 0.0,  # learning rate at the end, as a part of `lr`
    "optimizer": "adam",
    "beta2": 0.999,  # Adam's, of the mean of squares
    "clip_norm": 1.0,
    "weight_decay": 0.0,
    "restarts": 1,  # trainings from other first weights, which share the budget: see `minilm.recipes.restarts`
    "average": None,  # decay of the running mean of the weights, which are the result's where it is given
    "micro_shards": None,  # parts of a batch that processes share: see `minilm.training.parallel`
    "evaluate_every": None,  # steps; ten times in a run without it, or less often where that takes long
    "evaluate_examples": 500,  # of the validation part, during training; the end's evaluation has all
    "precision": "float32",  # of matrix products
    "bad_rows": "refuse",  # what becomes of real data's rows that cannot be read
}
CHOICES: dict[str, tuple] = {
    "optimizer": ("adam", "sgd"),
    "precision": ("float32", "tf32", "bf16"),  # of minilm.ops.precision
    "bad_rows": ("refuse", "skip"),
}
LEAST = {
    "batch": 1,
    "micro_shards": 1,
    "steps": 1,
    "restarts": 1,
    "evaluate_every": 1,
    "evaluate_examples": 1,
}  # of whole numbers; of others 0
POSITIVE = ("lr", "minutes")
SHARES = {"warmup": "[)", "final": "[]", "beta2": "[)", "average": "[)"}  # in [0, 1] or [0, 1)


class Settings:
    """Base of `minilm.recipes.base.Recipe`: its settings, checked.

    Parameters
    ----------
    **options
        Settings that differ from their defaults.

    Attributes
    ----------
    options : dict
        All settings.
    chosen : set of str
        The names of those that the user has set.
    """

    name = ""
    options: dict[str, Any] = {}  # defaults; in an instance, the settings
    choices: dict[str, tuple] = {}  # see `among`
    least: dict[str, int] = {}  # smallest values of whole numbers that may not be 0
    needs: dict[str, tuple[str, tuple | None]] = {}  # a setting -> another, and its values without which the first does nothing
    idle: tuple[str, ...] = ()  # settings of `COMMON` that the recipe's own way of training does not use

    def __init__(self, **options: Any) -> None:
        defaults = self.defaults()
        for key, value in options.items():
            self._check(key, value, defaults)
        self.chosen = set(options)
        self.options = {**defaults, **options}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """All settings with their defaults."""
        return {**COMMON, **cls.options}

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a run: those that are newer than it have their defaults, and no data may suggest others."""
        return {**cls.defaults(), **options}

    @classmethod
    def among(cls) -> dict[str, tuple]:
        """The values that a setting may have, where they are few."""
        return {**CHOICES, **cls.choices}

    def _check(self, key: str, value, defaults: Mapping[str, Any]) -> None:
        if key not in defaults:
            raise ValueError(f"the recipe {self.name} has no setting {key!r}; {did_you_mean(key, defaults)}")
        choices = self.among().get(key)
        if choices is not None:
            if value not in choices:
                names = ", ".join("none" if choice is None else repr(choice) for choice in choices)
                raise ValueError(f"{key} must be one of {names}, got {value!r}")
            return
        default, least = defaults[key], {**LEAST, **self.least}
        if value is None and default is None:
            return
        if key in POSITIVE:
            checks.number(key, value, 0, float("inf"), low_open=True, high_open=True)
        elif key in SHARES:
            checks.number(key, value, 0, 1, high_open=SHARES[key] == "[)")
        elif isinstance(default, (bool, str)):
            if not isinstance(value, type(default)):
                raise TypeError(f"{key} must be {'true or false' if isinstance(default, bool) else 'a text'}, got {value!r}")
        elif isinstance(default, int) or key in least:
            checks.whole(key, value, least.get(key, 0), 2**62)
        elif isinstance(default, float):
            checks.number(key, value, 0, float("inf"), high_open=True)
        elif isinstance(value, bool) or not isinstance(value, (int, float, str)):  # the default is None: a number or a path
            raise TypeError(f"{key} must be a number or a text, got {value!r}")
        elif isinstance(value, (int, float)):
            checks.number(key, value, 0, float("inf"), high_open=True)

    def refuse_idle(self, device: str = "cpu") -> None:
        """ValueError for a setting that the user has set, and that changes nothing with the others; for a new run."""
        for key in sorted(key for key in self.chosen if self.options[key] != self.defaults()[key]):
            if key in self.idle:
                raise ValueError(f"the recipe {self.name} makes no use of {key}, got {key}={self.options[key]!r}")
            other, values = self.needs.get(key, (key, (self.options[key],)))
            if values is None and self.options[other] is None:
                raise ValueError(f"{key} is for what {other} names, got {key}={self.options[key]!r} alone")
            if values is not None and self.options[other] not in values:
                raise ValueError(f"{key} is for {other}={' or '.join(map(repr, values))}, got {other}={self.options[other]!r}")

    def limit(self, *, minutes: float | None = None, steps: int | None = None) -> None:
        """Set the budget, if one is given, in the place of the other."""
        if minutes is not None and steps is not None:
            raise ValueError("minutes and steps both say when to stop: give one of them")
        for key, value in (("minutes", minutes), ("steps", steps)):
            if value is not None:
                self._check(key, value, self.defaults())
                self.chosen.add(key)
                self.options[key] = value
        if steps is not None:
            self.options["minutes"] = None

    def suggest(self, **options: Any) -> None:
        """Other defaults: what the user has set stays. For `adapt`."""
        self.options.update({key: value for key, value in options.items() if key not in self.chosen})
