"""Where a number is not finite first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.layers.hooks import hooks
from minilm.layers.recording import Activations

if TYPE_CHECKING:
    from minilm.layers.base import Layer

__all__ = ["first_not_finite"]

INSIDE = re.compile(r"\.\d+\.")  # the name of a layer inside one of a list: h.3.attn


class _NotFinite(Exception):
    """The place."""


class _Finite(Activations):
    """Keeps nothing, and raises `_NotFinite` at the first output that is not finite."""

    def record(self, name: str, x: Any, y: Any) -> None:
        for part, array in () if INSIDE.search(name) else _arrays(name, y):
            if not np.isfinite(array).all():
                raise _NotFinite(f"output of {part}")


def first_not_finite(model: Layer, *inputs: Any, **options: Any) -> str | None:
    """The name of the first array with a number that is not finite, or None.

    Looked at in this order: parameters, the outputs of the layers as they come, the loss, and the gradients as the buffer holds
    them. Of the blocks of a stack (h.0, h.1, ...) only the whole is named, and not what is inside.

    Parameters
    ----------
    model : Layer
    *inputs, **options
        Of its ``forward``.

    Returns
    -------
    str or None
        Such as "parameter h.0.ln_1.weight", "output of h.3", "loss", "gradient of wpe.weight".
    """
    with np.errstate(all="ignore"):
        place = _of(model.parameters, "parameter")
        if place is None:
            try:
                with hooks(model, into=_Finite()):
                    loss = model.forward(*inputs, **options)[0]
                place = None if np.isfinite(loss) else "loss"
            except _NotFinite as error:
                place = str(error)
        return place or _of(model.parameters.gradients, "gradient of")


def _of(arrays, kind: str) -> str | None:
    return next((f"{kind} {name}" for name, array in arrays.items() if not np.isfinite(array).all()), None)


def _arrays(name: str, output) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a layer's output; of a recurrent stack first the state after each of its layers."""
    if hasattr(output, "h_n"):
        yield from ((f"{name} layer {layer}", h) for layer, h in enumerate(output.h_n))
        yield f"{name} layer {len(output.h_n) - 1}", output.y
    elif isinstance(output, tuple):
        yield from ((name, part) for part in output if part is not None)
    else:
        yield name, output
