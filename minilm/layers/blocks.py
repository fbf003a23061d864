"""Blocks one after another: x = block(x) for each of a list, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.layers.residual import added
from minilm.layers.transformer import TransformerBlock
from minilm.ops.workspace import scratch
from minilm.random import Key, at

__all__ = ["backward", "forward"]


def forward(
    blocks: list[TransformerBlock],
    x: np.ndarray,
    memories: Sequence | None = None,
    *,
    key_mask=None,
    memory_mask=None,
    cache=None,
    key: Key | None = None,
    gradient: bool = True,
) -> tuple[np.ndarray, list]:
    """x after all blocks, and what each saved.

    Parameters
    ----------
    blocks : list of TransformerBlock
    x : ndarray, shape (B, T, D)
    memories : sequence, optional
        What the cross attention of each block reads.
    key_mask, memory_mask
        See `TransformerBlock.forward`.
    cache : KeyValueCache, optional
    key : Key, optional
        For dropout: block i has the key of its part ``str(i)``.
    gradient : bool
        Without it nothing is saved: each block writes over x, and gives back all other arrays that it took.
    """
    saved = []
    for number, block in enumerate(blocks):
        memory, layer_cache = (None if each is None else each[number] for each in (memories, cache))
        options = {"key_mask": key_mask, "memory_mask": memory_mask, "cache": layer_cache, "key": at(key, str(number))}
        if gradient:
            x, kept = block.forward(x, memory, **options)  # (B, T, D)
            saved.append(kept)
        else:
            with scratch():
                x[...] = block.forward(x, memory, **options)[0]
    return x, saved


def backward(blocks: list[TransformerBlock], dx: np.ndarray, saved: list, dmemory: np.ndarray | None = None) -> np.ndarray:
    """The gradient by x, written over `dx` (B, T, D), that by what `forward` gave.

    Where all blocks read one memory, what each gives back for it is added to `dmemory` (B, S, D).
    """
    for block, kept in zip(blocks[::-1], saved[::-1], strict=True):
        with scratch():
            if dmemory is None:
                dx[...] = block.backward(dx, kept)
            else:
                dx[...], each = block.backward(dx, kept)
                added(dmemory, each, dmemory)
    return dx
