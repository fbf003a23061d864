"""Blocks one after another: x = block(x) for each of a list, and the way back."""

from __future__ import annotations

import numpy as np

from minilm.layers.transformer import TransformerBlock
from minilm.ops.workspace import scratch
from minilm.random import Key, at

__all__ = ["backward", "forward"]


def forward(
    blocks: list[TransformerBlock], x: np.ndarray, *, key_mask=None, cache=None, key: Key | None = None, gradient: bool = True
) -> tuple[np.ndarray, list]:
    """x after all blocks, and what each saved.

    Parameters
    ----------
    blocks : list of TransformerBlock
    x : ndarray, shape (B, T, D)
    key_mask
        See `TransformerBlock.forward`.
    cache : KeyValueCache, optional
    key : Key, optional
        For dropout: block i has the key of its part ``str(i)``.
    gradient : bool
        Without it nothing is saved: each block writes over x, and gives back all other arrays that it took.
    """
    saved = []
    for number, block in enumerate(blocks):
        options = {"key_mask": key_mask, "cache": None if cache is None else cache[number], "key": at(key, str(number))}
        if gradient:
            x, kept = block.forward(x, **options)  # (B, T, D)
            saved.append(kept)
        else:
            with scratch():
                x[...] = block.forward(x, **options)[0]
    return x, saved


def backward(blocks: list[TransformerBlock], dx: np.ndarray, saved: list) -> np.ndarray:
    """The gradient by x, written over `dx` (B, T, D), that by what `forward` gave."""
    for block, kept in zip(blocks[::-1], saved[::-1], strict=True):
        with scratch():
            dx[...] = block.backward(dx, kept)
    return dx
