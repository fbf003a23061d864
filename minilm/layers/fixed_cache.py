"""A key-value cache whose shapes never change: for CUDA graphs, which launch the same kernels for every token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.cache import KeyValueCache
from minilm.typing import Array, Ids

__all__ = ["FixedCache"]


class _Layer(NamedTuple):
    """The part of one layer."""

    keys: object  # (B, T_max, H, K)
    values: object  # (B, T_max, H, K)
    place: object  # (1,)
    key_mask: object  # (B, T_max)

    def append(self, key, value):
        """Put in key and value (B, 1, H, K) of the new token; returns those of all places, (B, T_max, H, K) each."""
        self.keys[:, self.place] = key
        self.values[:, self.place] = value
        return self.keys, self.values


class FixedCache:
    """Goes on where a `KeyValueCache` on a GPU stands, one token at a time, in the same arrays.

    Where the next token goes is a number on the device, and a mask hides the places that are still empty.

    Parameters
    ----------
    cache : KeyValueCache
        On a GPU, and full but for its newest positions, which are still to be read.
    length : int
        Tokens that it holds so far.
    """

    start, length = 0, None  # no number of the host's

    def __init__(self, cache: KeyValueCache, length: int):
        like = cache[0].keys
        array = devices.array_module(like)
        self._layers = cache
        self.place = array.full(1, length, "int64")  # (1,)
        self._places = array.arange(like.shape[1])  # (T_max,)
        self._padding = devices.to_device(cache.padding)[:, None]  # (B, 1)
        self.key_mask = None
        for layer in range(cache.layers):
            for part in cache[layer][:2]:
                part[:, length:] = 0  # a weight of 0 times whatever memory held, which may be NaN

    def extended(self, count: int, padding: Ids | None = None) -> FixedCache:
        """This cache, with room for the next token."""
        self.key_mask = (self._places <= self.place) & (self._places >= self._padding)  # (B, T_max)
        return self

    def __getitem__(self, layer: int) -> _Layer:
        of_layer = self._layers[layer]
        return _Layer(of_layer.keys, of_layer.values, self.place, self.key_mask)

    def positions(self) -> Array:
        """Position of the new token, (B, 1), as `KeyValueCache.positions`."""
        return np.maximum(self.place - self._padding, 0)

    def advance(self) -> None:
        """The token has been read: the next goes one place further."""
        self.place += 1
