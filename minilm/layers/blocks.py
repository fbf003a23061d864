"""Blocks one after another: x = block(x) for each of a list, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.layers.residual import added
from minilm.ops.workspace import scratch
from minilm.random import Key, at

if TYPE_CHECKING:
    from minilm.layers.cache import KeyValueCache
    from minilm.layers.llama_block import LlamaBlock
    from minilm.layers.transformer import TransformerBlock

__all__ = ["backward", "forward"]


def forward(
    blocks: list[TransformerBlock] | list[LlamaBlock],
    x: np.ndarray,
    *inputs: Any,
    cache: KeyValueCache | None = None,
    key: Key | None = None,
    gradient: bool = True,
    **masks: Any,
) -> tuple[np.ndarray, list]:
    """x after all blocks, and what each saved.

    Parameters
    ----------
    blocks : list of TransformerBlock or of LlamaBlock
    x : ndarray, shape (B, T, D)
    *inputs, **masks
        What else each block reads: see its ``forward``.
    cache : KeyValueCache, optional
    key : Key, optional
        For dropout: block i has the key of its part ``str(i)``.
    gradient : bool
        Without it nothing is saved: each block writes over x, and gives back all other arrays that it took.
    """
    saved = []
    for number, block in enumerate(blocks):
        options = {"cache": None if cache is None else cache[number], "key": at(key, str(number)), **masks}
        if gradient:
            x, saved_block = block.forward(x, *inputs, **options)  # (B, T, D)
            saved.append(saved_block)
        else:
            with scratch():
                x[...] = block.forward(x, *inputs, **options)[0]
    return x, saved


def backward(
    blocks: list[TransformerBlock] | list[LlamaBlock], dx: np.ndarray, saved: list, dmemory: np.ndarray | None = None
) -> np.ndarray:
    """The gradient by the x of `forward`; the one by its memory is added to `dmemory`.

    `dx` (B, T, D), the gradient by what `forward` returned, is written over.
    """
    for block, saved_block in zip(blocks[::-1], saved[::-1], strict=True):
        with scratch():
            if dmemory is None:
                dx[...] = block.backward(dx, saved_block)
            else:
                dx[...], part = block.backward(dx, saved_block)
                added(dmemory, part, out=dmemory)
    return dx
