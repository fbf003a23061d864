"""What the cases are built of: random parameters, masks, and the table of a name's cases."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minilm.layers.base import Layer
from minilm.random import Key

__all__ = ["F64", "KEY", "KINK", "draw", "mask_of", "randomised", "table"]

F64 = np.float64
KEY = Key(seed=3, step=2)
KINK = 0.03  # finite differences move a number by up to 1/100 of its size


def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random numbers of either sign, none near zero."""
    return rng.uniform(0.2, 0.8, shape) * rng.choice([-1.0, 1.0], shape)


def randomised(module: Layer, rng: np.random.Generator) -> Layer:
    """The layer or model with all parameters drawn anew, none near zero: gains of a post-norm model must not vanish."""
    for value in module.parameters.values():
        value[...] = draw(rng, *value.shape)
    return module


def mask_of(rows: Sequence[str] | None) -> np.ndarray | None:
    """Rows of "1" and "0" as an array of bool; None stays None."""
    return None if rows is None else np.array([[c == "1" for c in row] for row in rows])


def table(build: Callable, cases: Mapping, *arguments: Any, **more: Any) -> dict[str, Callable]:
    """label -> a function without arguments that builds this case."""
    return {label: functools.partial(build, *arguments, **{**more, **options}) for label, options in cases.items()}
