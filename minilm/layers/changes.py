"""A count of all changes of layers, of any model: an attribute set or taken away, a parameter's array replaced by another.

What was gathered from a model's layers, such as the addresses of its weights, holds for as long as the count stays. It does not
count numbers written into an array, nor a layer put into a list of layers.
"""

from __future__ import annotations

__all__ = ["count", "number"]

_total = 0


def count() -> None:
    """Count a change, after it was made."""
    global _total
    _total += 1


def number() -> int:
    """How many there were."""
    return _total
