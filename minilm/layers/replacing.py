"""Layers inside a model that others take the place of: where they lie, and how one is put there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from minilm.layers.base import Layer

__all__ = ["put_sublayer", "sublayer_places"]


def sublayer_places(model: Layer, kinds: Collection[type]) -> dict[str, tuple[Layer, str, Any]]:
    """Each layer inside a model whose type is one of `kinds`, by its dotted name: what holds it, as which part, and itself.

    What is a subclass of one of them is none of them. `put_sublayer` puts another layer in such a place.
    """
    return {
        f"{path}.{name}" if path else name: (layer, name, part)
        for path, layer in model.named_layers()
        for name, part in layer.sublayers()
        if type(part) in kinds
    }


def put_sublayer(layer: Layer, name: str, part: Layer) -> None:
    """Put a layer in the place of the one that `Layer.sublayers` calls `name`: an attribute, or ``attribute.3`` of a list."""
    attribute, _, number = name.partition(".")
    if number:
        parts = list(getattr(layer, attribute))
        parts[int(number)] = part
        setattr(layer, attribute, type(getattr(layer, attribute))(parts))
    else:
        setattr(layer, name, part)
