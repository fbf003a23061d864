"""Keys and values of the tokens read so far, so that each new token costs one position and not all of them.

A causal model computes the same keys and values for a position whatever comes after it. So they are kept, and
of a new token only its own query, key and value are computed::

    cache = KeyValueCache(layers=12, batch=2, capacity=1024, heads=12, width=64)
    cache = cache.extended(5)                    five new positions; the old cache stays what it was
    keys, values = cache[0].append(k, v)         in layer 0: k, v (B, 5, H, K) -> all so far (B, T, H, K)

Rows of different lengths end together: the shorter ones begin with padding, which no position sees, and positions are
counted from the first token that is none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops import checks
from minilm.typing import Array, DType, Ids

__all__ = ["KeyValueCache", "LayerCache"]


class _Store:
    """The arrays, shared by all caches that continue one another; `filled` says how far the longest of them reaches."""

    def __init__(self, layers: int, shape: tuple[int, int, int, int], dtype, module=np):
        self.module = module  # NumPy or CuPy
        self.keys = [module.empty(shape, dtype) for _ in range(layers)]  # (B, T_max, H, K) each: pages come with their first use
        self.values = [module.empty(shape, dtype) for _ in range(layers)]  # (B, T_max, H, K) each
        self.filled = 0
        self.memo: dict[str, Any] = {}

    def on_device(self, array):
        """An array of the host where the keys are."""
        return array if self.module is np else devices.to_device(array)

    def rows(self, rows, length: int, start: int = 0) -> _Store:
        """A copy of some rows, from `start` up to `length`."""
        store = _Store(len(self.keys), (len(rows), *self.keys[0].shape[1:]), self.keys[0].dtype, self.module)
        rows = self.on_device(rows)
        for old, new in zip(self.keys + self.values, store.keys + store.values, strict=True):
            new[:, : length - start] = old[rows, start:length]
        store.filled = length - start
        return store

    def put(self, rows, other: _Store, count: int, stop: int) -> None:
        """Let some rows end, at `stop`, with the first `count` places of `other`."""
        rows = self.on_device(rows)
        for new, old in zip(self.keys + self.values, other.keys + other.values, strict=True):
            new[rows, stop - count : stop] = old[:, :count]


class LayerCache(NamedTuple):
    """The part of one layer."""

    keys: np.ndarray  # (B, T_max, H, K)
    values: np.ndarray  # (B, T_max, H, K)
    start: int
    stop: int  # the new positions are start ... stop - 1
    key_mask: np.ndarray | None  # (B, stop)

    def append(self, key: Array, value: Array) -> tuple[Array, Array]:
        """Put in the keys and values (B, t, H, K) of the new positions; returns those of all, (B, stop, H, K) each."""
        self.keys[:, self.start : self.stop] = key
        self.values[:, self.start : self.stop] = value
        return self.keys[:, : self.stop], self.values[:, : self.stop]


class KeyValueCache:
    """What the layers of a causal model have computed for the tokens so far.

    Parameters
    ----------
    layers, batch : int
        L and B.
    capacity : int
        T_max, most tokens.
    heads, width : int
        H and K.
    dtype : {float32, float64}
    like : array, optional
        On whose device keys and values lie; on the host without it.

    Attributes
    ----------
    length : int
        Tokens so far, padding included.
    start : int
        Where the newest tokens begin: those for which the last `extended` made room.
    padding : ndarray, shape (B,)
        How many of each row's first tokens are padding. It stays on the host.
    key_mask : ndarray of bool, shape (B, length), or None
        False where there is padding; None where there is none.

    Notes
    -----
    A cache never changes: `extended` gives a new one that shares the arrays. One cache may be continued in two ways; the second
    copies.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        capacity: int,
        heads: int,
        width: int,
        dtype: DType = np.float32,
        *,
        like: Array | None = None,
    ):
        self.capacity = checks.whole("capacity", capacity, 1, 2**31)
        self._store = _Store(layers, (batch, capacity, heads, width), dtype, devices.array_module(like))
        self.length = self.start = 0
        self.padding = np.zeros(batch, np.int64)  # (B,)
        self.key_mask = None

    def extended(self, count: int, padding: Ids | None = None) -> KeyValueCache:
        """A cache with room for `count` more tokens, to be filled by ``append`` of every layer.

        Parameters
        ----------
        count : int
        padding : ndarray of integers, shape (B,), optional
            How many of a row's first tokens are padding; only where the cache is empty. From a GPU it is read back, once.

        Raises
        ------
        ValueError
            If there is not so much room.
        """
        if self.length + count > self.capacity:
            raise ValueError(f"{self.length} tokens and {count} more are too many for a context of {self.capacity}")
        store = self._store
        if store.filled > self.length:  # another continuation has its keys where ours would go
            store = store.rows(np.arange(len(self.padding)), self.length)
        store.filled = self.length + count
        padding = self.padding if padding is None else devices.to_host(padding)
        return self._with(store, self.length, self.length + count, padding)

    def reorder(self, rows: Ids) -> KeyValueCache:
        """The cache of some of the texts, by their numbers (N,); one may come several times, as in a beam search.

        Rows that are on the GPU are read back; take them from the host.
        """
        rows = checks.ids("rows", np.asarray(devices.to_host(rows)), len(self.padding), (None,), "(N,)")
        return self._with(self._store.rows(rows, self.length), self.length, self.length, self.padding[rows])

    def renewed(self, rows: Ids, other: KeyValueCache | None) -> KeyValueCache:
        """The cache with other tokens in some rows, and without the padding that all rows have in common.

        Parameters
        ----------
        rows : ndarray of integers, shape (M,)
            On the host.
        other : KeyValueCache
            Of M texts; what these rows hold now. None where M is 0.
        """
        padding = self.padding.copy()  # (B,)
        padding[rows] = self.length if other is None else self.length - other.length + other.padding
        spare = int(padding.min())
        store, length = self._store.rows(np.arange(len(padding)), self.length, spare), self.length - spare
        if other is not None:
            store.put(rows, other._store, other.length, length)
        return self._with(store, length, length, padding - spare)

    def alike(self) -> KeyValueCache:
        """An empty cache of the same sizes."""
        keys = self._store.keys[0]
        store = _Store(self.layers, keys.shape, keys.dtype, self._store.module)
        return self._with(store, 0, 0, np.zeros(len(keys), np.int64))

    def __getitem__(self, layer: int) -> LayerCache:
        return LayerCache(self._store.keys[layer], self._store.values[layer], self.start, self.length, self.key_mask)

    @property
    def memo(self) -> dict[str, Any]:
        """What a reader keeps from one token to the next, for as long as the arrays are the same."""
        return self._store.memo

    @property
    def layers(self) -> int:
        """L."""
        return len(self._store.keys)

    def positions(self) -> np.ndarray:
        """Positions of the new tokens, (B, t), counted from each row's first token that is no padding; 0 for padding."""
        new = np.arange(self.start, self.length)  # (t,)
        return self._store.on_device(np.maximum(new - self.padding[:, None], 0))  # (B, t)

    def _with(self, store, start, length, padding) -> KeyValueCache:
        cache = object.__new__(KeyValueCache)
        cache.capacity, cache._store, cache.start, cache.length, cache.padding = self.capacity, store, start, length, padding
        cache.key_mask = store.on_device(np.arange(length) >= padding[:, None]) if padding.any() else None  # (B, length)
        return cache

    def __repr__(self):
        B, _, H, K = self._store.keys[0].shape
        return f"KeyValueCache({len(self._store.keys)} layers, B={B}, {self.length} of {self.capacity} tokens, H={H}, K={K})"
