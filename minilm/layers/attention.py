"""Multi-head attention with parameters: of a text to itself, or to a memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.cache import LayerCache
from minilm.layers.initialisers import Initialiser
from minilm.layers.linear import Linear
from minilm.layers.residual import added
from minilm.ops import attention, checks, padding
from minilm.ops.workspace import empty
from minilm.random import Key
from minilm.typing import Array, DType, Seed

__all__ = ["Memory", "MultiHeadAttention", "Output"]


class Memory(NamedTuple):
    """Keys and values of a memory, computed once for all steps of generation; no gradient flows through them."""

    key: np.ndarray  # (B, S, H, K)
    value: np.ndarray  # (B, S, H, K)


class Output(NamedTuple):
    """What forward returns with ``return_weights``."""

    y: np.ndarray  # (B, T, D)
    weights: np.ndarray  # (B, H, T, S) before dropout


class Saved(NamedTuple):
    """What backward needs."""

    inputs: list  # what each projection saved: the one of q, k and v, or the three
    attention: Any  # what the op saved
    output: Any  # what c_proj saved
    has_memory: bool  # whether forward was given one
    cached: bool  # whether keys came out of a cache or a Memory, through which no gradient flows


class MultiHeadAttention(Layer):
    """H heads, each a mean of values weighted by how well their keys fit a query; see `minilm.ops.attention.spec`.

    ::

        q = x W_qᵀ + b_q                             (B, T, H, K)      D = H K
        k = m W_kᵀ + b_k,  v = m W_vᵀ + b_v          (B, S, H, K)      m = x, or the memory
        y = attention(q, k, v) W_oᵀ + b_o            (B, T, D)

    Parameters
    ----------
    embed_dim : int
        D, a multiple of `num_heads`.
    num_heads : int
        H.
    causal : bool
        No position sees a later one.
    band : int, optional
        With `causal`, a position sees only the last `band` ones, itself among them; without, those nearer than `band`.
    dropout : float
        Probability with which a weight is dropped, where `forward` is given a key.
    fused : bool
        One projection for q, k and v, for attention of a text to itself. Without it there are three, and there may be a memory.
    memory_dim : int, optional
        Width of the memory; D without it. Not with `fused`.
    initialise, residual_initialise : callable, optional
        What W_q, W_k, W_v and W_o start from, biases then at zero; see `minilm.layers.Linear`.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``c_attn.weight`` (3D, D), ``c_attn.bias`` (3D,), rows of q, k, then v; without `fused` ``query``, ``key`` and
    ``value`` of (D, D), (D, memory_dim) and (D, memory_dim); then ``c_proj.weight`` (D, D), ``c_proj.bias`` (D,).

    References
    ----------
    A. Vaswani et al., Attention is all you need, NIPS 2017.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        causal: bool = False,
        band: int | None = None,
        dropout: float = 0.0,
        fused: bool = True,
        memory_dim: int | None = None,
        initialise: Initialiser | None = None,
        residual_initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self.num_heads = checks.whole("num_heads", num_heads, 1, 2**31)
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}")
        self.causal = checks.flag("causal", causal)
        self.band = None if band is None else checks.whole("band", band, 1, 2**62)
        self.dropout = checks.number("dropout", dropout, 0, 1)
        self.fused = checks.flag("fused", fused)
        if fused and memory_dim is not None:
            raise ValueError(f"memory_dim is for fused=False, got memory_dim={memory_dim}")
        options = {"initialise": initialise, "dtype": dtype, "seed": self._generator}
        if fused:
            self.c_attn = Linear(embed_dim, 3 * embed_dim, **options)
        else:
            width = embed_dim if memory_dim is None else memory_dim
            self.query = Linear(embed_dim, embed_dim, **options)
            self.key = Linear(width, embed_dim, **options)
            self.value = Linear(width, embed_dim, **options)
        self.c_proj = Linear(embed_dim, embed_dim, **{**options, "initialise": residual_initialise or initialise})

    def forward(
        self,
        x: Array,
        memory: Array | Memory | None = None,
        *,
        key_mask: Array | None = None,
        cache: LayerCache | None = None,
        return_weights: bool = False,
        key: Key | None = None,
    ) -> tuple[Array | Output, Saved]:
        """Attend.

        Parameters
        ----------
        x : ndarray, shape (B, T, D)
            Whose positions ask.
        memory : ndarray, shape (B, S, memory_dim), or Memory, optional
            Whose positions are asked, or what `remember` gave of them; x itself without it. Only where `fused` is False.
        key_mask : ndarray of bool, shape (B, S), optional
            True where a position may be attended. A position that sees none gives W_o · 0 + b_o.
        cache : LayerCache, optional
            Keys and values of the positions before x, to which those of x are added: for generation.
        return_weights : bool
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        y : ndarray, shape (B, T, D)
            With `return_weights` an `Output` of y and the weights.
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an array has a wrong shape or dtype, or there is a memory and the layer is `fused`.
        """
        x = checks.floating("x", x, (None, None, self.embed_dim), self.dtype, "(B, T, D)")
        (q, k, v), inputs = self._project(x, memory, key_mask)  # (B, T, H, K), (B, S, H, K), (B, S, H, K)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, S, H, K) each
            key_mask = cache.key_mask
        y, saved = attention.forward(
            q,
            k,
            v,
            causal=self.causal,
            band=self.band,
            key_mask=key_mask,
            dropout=0.0 if key is None else self.dropout,
            rng=key,
            return_weights=return_weights,
        )
        y, weights = y if return_weights else (y, None)
        y, output = self.c_proj.forward(y.reshape(x.shape))  # (B, T, D)
        cached = cache is not None or isinstance(memory, Memory)
        return Output(y, weights) if return_weights else y, Saved(inputs, saved, output, memory is not None, cached)

    def remember(self, memory: Array | Memory | None) -> Memory:
        """Keys and values of a memory (B, S, memory_dim), to be given to `forward` in its place, again and again.

        Parameters
        ----------
        memory : ndarray, shape (B, S, memory_dim)

        Raises
        ------
        ValueError
            If the layer is `fused`, so that it has no map for a memory, or the shape does not fit.
        """
        if self.fused:
            raise ValueError("a memory needs fused=False: the one projection of this layer is for x alone")
        memory = checks.floating("memory", memory, (None, None, self.key.in_features), self.dtype, "(B, S, memory_dim)")
        shape = (*memory.shape[:2], self.num_heads, self.embed_dim // self.num_heads)
        parts = [layer.forward(memory)[0] for layer in (self.key, self.value)]  # (B, S, D) each
        return Memory(*(part.reshape(shape) for part in parts))

    def backward(self, dy: Array, saved: Saved) -> Array | tuple[Array, Array]:
        """Gradients by the inputs.

        Parameters
        ----------
        dy : ndarray, shape (B, T, D)
        saved : Saved

        Returns
        -------
        dx : ndarray, shape (B, T, D)
        dmemory : ndarray, shape (B, S, memory_dim)
            Only where forward was given a memory.

        Raises
        ------
        ValueError
            If keys came out of a cache or a `Memory`, through which no gradient flows.
        """
        if saved.cached:
            raise ValueError("no gradient flows through a key-value cache or a Memory: run forward without one")
        B, T, _ = dy.shape
        H, K = self.num_heads, self.embed_dim // self.num_heads
        dy = self.c_proj.backward(dy, saved.output).reshape(B, T, H, K)
        if self.fused:
            dqkv = empty((B, T, 3, H, K), dy.dtype, like=dy)  # (B, T, 3, H, K)
            attention.backward(dy, saved.attention, out=(dqkv[:, :, 0], dqkv[:, :, 1], dqkv[:, :, 2]))
            return self.c_attn.backward(dqkv.reshape(B, T, -1), saved.inputs[0])  # (B, T, D)
        gradients = attention.backward(dy, saved.attention)  # (B, T, H, K), (B, S, H, K) twice
        dq, dk, dv = (
            layer.backward(gradient.reshape(*gradient.shape[:2], -1), saved_input)
            for layer, gradient, saved_input in zip((self.query, self.key, self.value), gradients, saved.inputs, strict=True)
        )  # (B, T, D), (B, S, memory_dim) twice
        dmemory = added(dk, dv, out=dk)
        return (dq, dmemory) if saved.has_memory else added(dq, dmemory, out=dq)

    def _project(self, x, memory, key_mask):
        """Queries, keys and values, and what the projections saved."""
        B, T, D = x.shape
        H, K = self.num_heads, D // self.num_heads
        if self.fused:
            if memory is not None:
                raise ValueError("a memory needs fused=False: the one projection of this layer is for x alone")
            qkv, saved = self.c_attn.forward(x)  # (B, T, 3D)
            qkv = qkv.reshape(B, T, 3, H, K)
            return (qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]), [saved]
        if isinstance(memory, Memory):
            q, _ = self.query.forward(x)  # (B, T, D)
            return (q.reshape(B, T, H, K), *memory), []
        source = x
        if memory is not None:
            source = checks.floating("memory", memory, (B, None, self.key.in_features), self.dtype, "(B, S, memory_dim)")
            if key_mask is not None:
                source = padding.zeroed(source, checks.booleans("key_mask", key_mask, source.shape[:2], "(B, S)"))
        parts, inputs = [], []
        for layer, argument in ((self.query, x), (self.key, source), (self.value, source)):
            part, saved = layer.forward(argument)  # (B, T or S, D)
            parts.append(part.reshape(B, -1, H, K))
            inputs.append(saved)
        return parts, inputs

    def settings(self) -> str:
        parts = [str(self.embed_dim), str(self.num_heads)] + ["causal=True"] * self.causal
        parts += [f"band={self.band}"] * (self.band is not None) + [f"dropout={self.dropout:g}"] * (self.dropout > 0)
        return ", ".join(parts + ["fused=False"] * (not self.fused))
