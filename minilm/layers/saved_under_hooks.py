"""What ties a backward pass to the replacements that its forward pass ran with: see `minilm.hooks`.

With a replacement r at some layer, forward computes another function of the parameters than without it::

    loss(θ)          x -> layer_θ(x) -> ...
    loss_r(θ)        x ->      r     -> ...        no gradient flows below r

Their derivatives are two functions, too. So what a layer saves under a replacement belongs to the block in which it stood, and
is refused once this block has ended; what it saved without one goes back without it, also where one stands now.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minilm.layers.base import Layer

__all__ = ["Replacement", "SavedUnder", "replacements_inside", "require_same"]

_open: list[Replacement] = []


class Replacement:
    """Something that stands in a layer's place while a block of `minilm.hooks` is open.

    Parameters
    ----------
    name : str
        What is replaced, for errors.
    layer : Layer
    values : mapping
        What stands there, of a recurrent layer by gate.
    """

    def __init__(self, name: str, layer: Layer, values: Mapping[str, Any]):
        self.name, self.layer, self.values = name, layer, values
        self.took_effect = False

    @property
    def is_open(self) -> bool:
        return any(each is self for each in _open)

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """Inside this block it stands; after it a warning says if it did in vain."""
        _open.append(self)
        try:
            yield
        finally:
            _open[:] = [each for each in _open if each is not self]
        if not self.took_effect:
            warnings.warn(f"minilm.hooks replaced {self.name} in vain: nothing ran through it", stacklevel=6)


class SavedUnder:
    """What a layer saved while a replacement stood: as it is in that block, and of no use after it."""

    __slots__ = ("_saved", "by")

    def __init__(self, by: Replacement, saved: Any):
        self.by, self._saved = by, saved

    @property
    def saved(self) -> Any:
        """What the layer saved.

        Raises
        ------
        ValueError
            The block has ended.
        """
        if not self.by.is_open:
            raise ValueError(_elsewhere(self.by.name))
        return self._saved

    def __getattr__(self, name: str) -> Any:
        return getattr(self.saved, name)

    def __getitem__(self, place: Any) -> Any:
        return self.saved[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.saved)

    def __len__(self) -> int:
        return len(self.saved)


def replacements_inside(layer: Layer) -> tuple[Replacement, ...]:
    """Those that stand in a layer or below it: what a layer keeps that computes its forward pass again in backward."""
    if not _open:
        return ()
    layers = {id(each) for _, each in layer.named_layers()}
    return tuple(each for each in _open if id(each.layer) in layers)


def require_same(layer: Layer, before: tuple[Replacement, ...]) -> None:
    """ValueError unless the same stand in a layer as `before`, when forward ran."""
    now = replacements_inside(layer)
    if differing := [each for each in (*before, *now) if each not in before or each not in now]:
        raise ValueError(_elsewhere(differing[0].name))


def _elsewhere(name: str) -> str:
    return f"one of forward and backward ran while minilm.hooks replaced {name}: run both inside of its block, or both outside"
