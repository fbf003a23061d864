"""Looking into a model from outside while it runs, and where a number is not finite first."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minilm.layers.base import Layer

__all__ = ["first_not_finite", "watched"]

INSIDE = re.compile(r"\.\d+\.")  # the name of a layer inside one of a list: h.3.attn


class _NotFinite(Exception):
    """The place."""


@contextlib.contextmanager
def watched(model: Layer, look: Callable[[str, object], None]) -> Iterator[None]:
    """Inside this block, each layer below `model` shows what its ``forward`` returns, as PyTorch's forward hooks do.

    Parameters
    ----------
    model : Layer
    look : callable
        ``look(name, output)``: the layer's dotted name, and its output. Copy what is to be kept: an array may be overwritten.
    """
    layers = [(name, layer) for name, layer in model.named_layers() if name]
    for name, layer in layers:
        layer.forward = _showing(name, layer.forward, look)
    try:
        yield
    finally:
        for _, layer in layers:
            vars(layer).pop("forward", None)


def _showing(name: str, forward, look):
    def shown(*inputs, **options):
        output, saved = forward(*inputs, **options)
        look(name, output)
        return output, saved

    return shown


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

    def look(name, output):
        for part, array in () if INSIDE.search(name) else _arrays(name, output):
            if not np.isfinite(array).all():
                raise _NotFinite(f"output of {part}")

    with np.errstate(all="ignore"):
        place = _of(model.parameters, "parameter")
        if place is None:
            try:
                with watched(model, look):
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
