"""One vector for a sequence: the mean of its steps, or a mean with weights that are learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.ops import additive_attention, attention, checks, padding
from minilm.ops.workspace import empty, release_after
from minilm.random import Key
from minilm.typing import Array, DType, Seed


class MeanPooling(Layer):
    """y[b] = mean of x[b, t] over the steps t that count; zeros for a row of which none does.

    ::

        w[b, t] = mask[b, t] / sum_u mask[b, u]
        y[b]    = sum_t w[b, t] x[b, t]                 dx[b, t] = w[b, t] dy[b]
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """y (B, D), and what `backward` needs, for x (B, T, D) and mask (B, T) of bool, True where a step counts, or None."""
        x = checks.floating("x", x, (None, None, None), letters="(B, T, D)")
        B, T, D = x.shape
        if mask is None:
            w = devices.array_module(x).full((B, T), 1 / max(1, T), x.dtype)  # (B, T)
        else:
            mask = checks.booleans("mask", mask, (B, T), "(B, T)")
            x = padding.zeroed(x, mask)
            w = (mask / np.maximum(1, mask.sum(axis=1, keepdims=True))).astype(x.dtype)  # (B, T)
        y = empty((B, D), x.dtype, like=x)  # (B, D)
        devices.array_module(x).matmul(w[:, None], x, out=y[:, None])  # (B, 1, T) (B, T, D)
        return y, w

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (B, T, D), from dy (B, D)."""
        B, T = saved.shape
        dy = checks.floating("dy", dy, (B, None), saved.dtype, "(B, D)")
        dx = empty((B, T, dy.shape[1]), dy.dtype, like=dy)  # (B, T, D)
        return np.multiply(saved[:, :, None], dy[:, None], out=dx)


class AttentionPooling(Layer):
    """A mean of the steps with weights by how much each matters.

    ::

        u[b, t] = tanh(W x[b, t] + q)              (A,)
        a[b, t] = softmax over t of v · u[b, t]    over the steps that count
        y[b]    = sum_t a[b, t] x[b, t]            (D,)

    Parameters
    ----------
    input_size : int
        D.
    attention_size : int, optional
        A; D without it.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``key.weight`` (A, D), ``query`` (A,), which is q, and ``score`` (A,), which is v. It is additive attention
    (`minilm.ops.additive_attention`) with one query that is learned.

    References
    ----------
    Z. Yang, D. Yang, C. Dyer, X. He, A. Smola, E. Hovy, Hierarchical attention networks for document classification, NAACL 2016.
    """

    def __init__(self, input_size: int, attention_size: int | None = None, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        D = checks.whole("input_size", input_size, 1, 2**31)
        A = D if attention_size is None else checks.whole("attention_size", attention_size, 1, 2**31)
        self.key = Linear(D, A, bias=False, dtype=dtype, seed=self._generator)
        self.parameter("query", (A,), initialisers.kaiming_uniform(D))
        self.parameter("score", (A,), initialisers.kaiming_uniform(A))

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """y (B, D), and what `backward` needs, for x (B, T, D) and mask (B, T) of bool, True where a step counts, or None.

        ``saved[1].weights`` (B, 1, T) are the weights a.
        """
        x = checks.floating("x", x, (None, None, self.key.in_features), self.dtype, "(B, T, D)")
        if mask is not None:
            x = padding.zeroed(x, checks.booleans("mask", mask, x.shape[:2], "(B, T)"))
        keys, projected = self.key.forward(x)  # (B, T, A)
        query = empty((len(x), 1, self.query.size), self.dtype, like=x)  # (B, 1, A)
        query[...] = self.query.value
        y, attended = additive_attention.forward(query, keys, self.score.value, x, key_mask=mask)
        return y[:, 0], (projected, attended)

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (B, T, D), from dy (B, D)."""
        projected, attended = saved
        dquery, dkeys, dscore, dx = additive_attention.backward(dy[:, None], attended)
        self.query.accumulate(dquery.sum(axis=(0, 1)))
        self.score.accumulate(dscore)
        through = self.key.backward(dkeys, projected)  # (B, T, D)
        np.add(dx, through, out=dx)
        release_after(dx)
        return dx

    def settings(self) -> str:
        A, D = self.key.weight.shape
        return f"{D}, {A}"


class DotPooling(Layer):
    """A mean of the steps, weighted by one linear score of each.

    ::

        a[b, t] = softmax over t of w · x[b, t]    over the steps that count
        y[b]    = sum_t a[b, t] x[b, t]            (D,)

    Parameters
    ----------
    input_size : int
        D.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameter: ``weight`` (D,), which is w. It is attention (`minilm.ops.attention`) with one query that is learned, whose keys
    and values are the steps themselves; x has the sum of what comes back through both.

    References
    ----------
    B. Felbo, A. Mislove, A. Søgaard, I. Rahwan, S. Lehmann, Using millions of emoji occurrences to learn any-domain
    representations for detecting sentiment, emotion and sarcasm, EMNLP 2017.
    """

    def __init__(self, input_size: int, *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        D = checks.whole("input_size", input_size, 1, 2**31)
        self.parameter("weight", (D,), initialisers.kaiming_uniform(D))

    def forward(self, x: Array, mask: Array | None = None, *, key: Key | None = None) -> tuple[Array, Any]:
        """y (B, D), and what `backward` needs, for x (B, T, D) and mask (B, T) of bool, True where a step counts, or None."""
        x = checks.floating("x", x, (None, None, self.weight.size), self.dtype, "(B, T, D)")
        if mask is not None:
            x = padding.zeroed(x, checks.booleans("mask", mask, x.shape[:2], "(B, T)"))
        query = empty((len(x), 1, 1, self.weight.size), self.dtype, like=x)  # (B, 1, 1, D)
        query[...] = self.weight.value
        steps = x[:, :, None]  # (B, T, 1, D)
        y, saved = attention.forward(query, steps, steps, key_mask=mask, scale=1.0)
        return y[:, 0, 0], saved

    def backward(self, dy: Array, saved: Any) -> Array:
        """dx (B, T, D), from dy (B, D)."""
        dquery, dkeys, dvalues = attention.backward(dy[:, None, None], saved)
        self.weight.accumulate(dquery.sum(axis=(0, 1, 2)))
        return np.add(dkeys[:, :, 0], dvalues[:, :, 0])

    def settings(self) -> str:
        return str(self.weight.size)
