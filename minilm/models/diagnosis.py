"""Where a number is not finite first: what to say when a loss is NaN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

__all__ = ["first_not_finite"]


def first_not_finite(parameters, outputs: Iterable[tuple[str, np.ndarray]]) -> str | None:
    """The name of the first array with a number that is not finite, or None.

    Looked at in this order: parameters, `outputs`, and the gradients as the buffer holds them.

    Parameters
    ----------
    parameters : minilm.layers.Parameters
        Of the model.
    outputs : iterable of (str, ndarray)
        What the layers gave, in order, and the loss. A generator computes them only where the parameters are finite.
    """

    def named(beginning: str, arrays) -> Iterator[tuple[str, np.ndarray]]:
        return ((f"{beginning} {name}", value) for name, value in arrays.items())

    with np.errstate(all="ignore"):
        every = chain(named("parameter", parameters), outputs, named("gradient of", parameters.gradients))
        return next((name for name, value in every if not np.isfinite(value).all()), None)
