"""Where in the text a vector stands: learned positions, and sinusoidal ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minilm import devices
from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.initialisers import Initialiser
from minilm.ops import checks, embedding
from minilm.ops.workspace import empty, scratch
from minilm.random import Key
from minilm.typing import Array, DType, Ids, Seed

__all__ = ["PositionalEmbedding", "SinusoidalPositions", "sinusoids"]


class PositionalEmbedding(Layer):
    """y[b, t] = x[b, t] + W[position of t].

    Parameters
    ----------
    num_positions : int
        P: positions are in [0, P).
    embed_dim : int
        D.
    initialise : callable, optional
        See `minilm.layers.initialisers`; normal(0, 0.02) without it.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameter: ``weight`` (P, D). Its gradient is the sum of dy over all places where a position stands.

    References
    ----------
    J. Gehring et al., Convolutional sequence to sequence learning, ICML 2017; A. Radford et al., Improving language
    understanding by generative pre-training, 2018.
    """

    def __init__(
        self,
        num_positions: int,
        embed_dim: int,
        *,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.num_positions = checks.whole("num_positions", num_positions, 1, 2**31)
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self.parameter("weight", (num_positions, embed_dim), initialise or initialisers.normal(0.02))

    def forward(self, x: Array, positions: Ids | None = None, *, offset: int = 0, key: Key | None = None) -> tuple[Array, Any]:
        """Add positions.

        Parameters
        ----------
        x : ndarray, shape (B, T, D)
        positions : ndarray of integers, shape (B, T), optional
            Of each place; ``offset ... offset + T - 1`` in every row without it.
        offset : int

        Returns
        -------
        y : ndarray, shape (B, T, D)
        saved
            For `backward`.

        Raises
        ------
        ValueError
            If a position is not in [0, P), or shapes do not fit.
        """
        x = checks.floating("x", x, (None, None, self.embed_dim), self.dtype, "(B, T, D)")
        y = empty(x.shape, x.dtype, like=x)  # (B, T, D)
        if positions is None:
            stop = checks.whole("offset", offset, 0, 2**31) + x.shape[1]
            if stop > self.num_positions:
                raise ValueError(f"x reaches position {stop - 1}, there are {self.num_positions}")
            np.add(x, self.weight.value[offset:stop], out=y)
            return y, offset
        positions = checks.ids("positions", positions, self.num_positions, x.shape[:2], "(B, T)")
        with scratch():
            rows, saved = embedding.forward(positions, self.weight.value)  # (B, T, D)
            np.add(x, rows, out=y)
        return y, saved

    def backward(self, dy: Array, saved: Any) -> Array:
        """Returns dx (B, T, D), which is dy itself."""
        with scratch():
            if isinstance(saved, int):
                total = empty(dy.shape[1:], dy.dtype, like=dy)  # (T, D)
                np.sum(dy, axis=0, out=total)
                self.weight.accumulate(total, rows=slice(saved, saved + len(total)))
            else:
                self.weight.accumulate(embedding.backward(dy, saved))
        return dy

    def settings(self) -> str:
        return f"{self.num_positions}, {self.embed_dim}"


def sinusoids(num_positions: int, embed_dim: int, kind: str = "sinusoidal") -> np.ndarray:
    """Sines and cosines of geometrically growing wavelengths, from 2π to 10000 · 2π.

    .. math:: W_{p,2i} = \\sin(p / 10000^{2i/D}), \\qquad W_{p,2i+1} = \\cos(p / 10000^{2i/D})

    So says the paper. "tensor2tensor" is what its program does, and OpenNMT and CTranslate2 with it: all sines, then all cosines,
    the longest wavelength 10000 · 2π itself, and positions counted from 1.

    .. math:: W_{p,i} = \\sin((p + 1) / 10000^{i/(D/2-1)}), \\qquad W_{p,D/2+i} = \\cos((p + 1) / 10000^{i/(D/2-1)})

    Returns
    -------
    ndarray, shape (P, D), float64
    """
    if kind == "tensor2tensor":
        half = embed_dim // 2
        angles = np.arange(1, num_positions + 1)[:, None] * np.exp(
            np.arange(half) * (-math.log(10000) / max(1, half - 1))
        )  # (P, D/2)
        return np.concatenate([np.sin(angles), np.cos(angles), np.zeros((num_positions, embed_dim % 2))], axis=1)  # (P, D)
    even = np.arange(0, embed_dim, 2)  # (ceil(D / 2),) 2i
    angles = np.arange(num_positions)[:, None] * np.exp(even * (-math.log(10000) / embed_dim))  # (P, ceil(D / 2))
    W = np.empty((num_positions, embed_dim))  # (P, D)
    W[:, 0::2] = np.sin(angles)
    W[:, 1::2] = np.cos(angles[:, : embed_dim // 2])
    return W


class SinusoidalPositions(Layer):
    """y[b, t] = x[b, t] + W[offset + t], W fixed; see `sinusoids`. It has no parameters.

    Parameters
    ----------
    embed_dim : int
        D.
    kind : {"sinusoidal", "tensor2tensor"}
    dtype : {float32, float64}

    References
    ----------
    A. Vaswani et al., Attention is all you need, NIPS 2017, section 3.5.
    """

    def __init__(self, embed_dim: int, kind: str = "sinusoidal", *, dtype: DType = np.float32):
        super().__init__(dtype=dtype)
        checks.option("kind", kind, ("sinusoidal", "tensor2tensor"))
        self.kind = kind
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self._table = [np.empty((0, embed_dim), self.dtype)]  # (P, D) as many as were ever needed: in a list, which stays

    def forward(self, x: Array, *, offset: int = 0, key: Key | None = None) -> tuple[Array, Any]:
        """Returns y (B, T, D) for x (B, T, D), and the shape of x."""
        x = checks.floating("x", x, (None, None, self.embed_dim), letters="(B, T, D)")
        stop = checks.whole("offset", offset, 0, 2**31) + x.shape[1]
        (table,) = self._table
        if stop > len(table) or table.dtype != x.dtype:
            table = sinusoids(max(stop, 2 * len(table)), self.embed_dim, self.kind).astype(x.dtype)
        table = self._table[0] = devices.to_device_of(x, table)
        y = empty(x.shape, x.dtype, like=x)  # (B, T, D)
        return np.add(x, table[offset:stop], out=y), x.shape

    def backward(self, dy: Array, saved: tuple[int, ...]) -> Array:
        """Returns dx (B, T, D), which is dy itself."""
        return dy.reshape(*saved)  # what was saved is looked at, so that `minilm.hooks` can refuse it

    def settings(self) -> str:
        return str(self.embed_dim)
