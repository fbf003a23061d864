"""Attention as Llama has it: rotated queries and keys, and heads of keys and values that several heads of queries share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.cache import LayerCache
from minilm.layers.initialisers import Initialiser
from minilm.layers.linear import Linear
from minilm.layers.residual import added
from minilm.layers.rms_norm import RMSNorm
from minilm.layers.rotary import Rotation
from minilm.ops import attention, checks, rotary
from minilm.random import Key
from minilm.typing import Array, DType, Seed

__all__ = ["GroupedQueryAttention", "Output"]


class Output(NamedTuple):
    """What forward returns with ``return_weights``."""

    y: np.ndarray  # (B, T, D)
    weights: np.ndarray  # (B, H, T, S) before dropout


class Saved(NamedTuple):
    """What backward needs."""

    projections: tuple  # what q_proj, k_proj and v_proj saved
    norms: tuple  # what q_norm and k_norm saved, or None twice
    rotations: tuple  # what the rotations of q and k saved
    attention: Any
    output: Any  # what o_proj saved
    cached: bool  # whether keys came out of a cache, through which no gradient flows


class GroupedQueryAttention(Layer):
    """Causal attention of H heads of queries to G heads of keys and values; see `minilm.ops.attention.spec`.

    ::

        q = rotated(x W_qᵀ)                          (B, T, H, K)
        k = rotated(x W_kᵀ),  v = x W_vᵀ             (B, T, G, K)
        y = attention(q, k, v) W_oᵀ                  (B, T, D)

    with normalisation of q and k by head before the rotation where there is an `eps` for it.

    Parameters
    ----------
    embed_dim : int
        D.
    num_heads, num_key_value_heads : int
        H and G, a divisor of H; without the second as many as H.
    head_dim : int, optional
        K; D / H without it.
    bias, output_bias : bool
        Whether the maps to q, k and v, and the last one, have biases.
    qk_norm_eps : float, optional
        Normalise each head of q and k by `RMSNorm`, with this eps.
    window : int, optional
        A position sees only the last `window` ones, itself among them.
    scale, softcap
        Of the scores, see `minilm.ops.attention.forward`.
    dropout : float
        Probability with which a weight is dropped, where `forward` is given a key.
    initialise : callable, optional
        What the weights start from, biases then at zero; see `minilm.layers.Linear`.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Sub-layers by Hugging Face's names: ``q_proj`` (H K, D), ``k_proj`` and ``v_proj`` (G K, D), ``o_proj`` (D, H K), and
    ``q_norm`` and ``k_norm`` (K,).

    References
    ----------
    J. Ainslie et al., GQA: training generalized multi-query transformer models from multi-head checkpoints, EMNLP 2023.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_key_value_heads: int | None = None,
        *,
        head_dim: int | None = None,
        bias: bool = False,
        output_bias: bool = False,
        qk_norm_eps: float | None = None,
        window: int | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self.num_heads = checks.whole("num_heads", num_heads, 1, 2**31)
        groups = num_heads if num_key_value_heads is None else num_key_value_heads
        self.num_key_value_heads = checks.whole("num_key_value_heads", groups, 1, 2**31)
        if num_heads % groups:
            raise ValueError(f"num_heads must be a multiple of num_key_value_heads, got {num_heads} and {groups}")
        if head_dim is None and embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}")
        self.head_dim = K = checks.whole("head_dim", head_dim or embed_dim // num_heads, 1, 2**31)
        self.window = None if window is None else checks.whole("window", window, 1, 2**62)
        self.scale, self.softcap = scale, softcap
        self.dropout = checks.number("dropout", dropout, 0, 1)
        options = {"initialise": initialise, "dtype": dtype, "seed": self._generator}
        self.q_proj = Linear(embed_dim, num_heads * K, bias, **options)
        self.k_proj = Linear(embed_dim, groups * K, bias, **options)
        self.v_proj = Linear(embed_dim, groups * K, bias, **options)
        self.o_proj = Linear(num_heads * K, embed_dim, output_bias, **options)
        self.q_norm = None if qk_norm_eps is None else RMSNorm(K, qk_norm_eps, dtype=dtype)
        self.k_norm = None if qk_norm_eps is None else RMSNorm(K, qk_norm_eps, dtype=dtype)

    def forward(
        self,
        x: Array,
        rotation: Rotation,
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
        rotation : Rotation
            Of the positions of x; see `minilm.layers.rotary`.
        key_mask : ndarray of bool, shape (B, T), optional
            True where a position may be attended.
        cache : LayerCache, optional
            Rotated keys, and values, of the positions before x, to which those of x are added: for generation.
        return_weights : bool
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        y : ndarray, shape (B, T, D)
            With `return_weights` an `Output` of y and the weights.
        saved : Saved
        """
        x = checks.floating("x", x, (None, None, self.embed_dim), self.dtype, "(B, T, D)")
        (q, saved_q), (k, saved_k), (v, saved_v) = (part.forward(x) for part in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.reshape(*x.shape[:2], -1, self.head_dim) for part in (q, k, v))  # (B, T, H, K), (B, T, G, K) twice
        q, normed_q = (q, None) if self.q_norm is None else self.q_norm.forward(q)
        k, normed_k = (k, None) if self.k_norm is None else self.k_norm.forward(k)
        q, rotated_q = rotary.forward(q, *rotation)  # (B, T, H, K)
        k, rotated_k = rotary.forward(k, *rotation)  # (B, T, G, K)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, S, G, K) each
            key_mask = cache.key_mask
        y, saved = attention.forward(
            q,
            k,
            v,
            causal=True,
            band=self.window,
            key_mask=key_mask,
            scale=self.scale,
            softcap=self.softcap,
            dropout=0.0 if key is None else self.dropout,
            rng=key,
            return_weights=return_weights,
        )
        y, weights = y if return_weights else (y, None)
        y, output = self.o_proj.forward(y.reshape(*x.shape[:2], -1))  # (B, T, D)
        parts = (saved_q, saved_k, saved_v), (normed_q, normed_k), (rotated_q, rotated_k), saved, output, cache is not None
        return Output(y, weights) if return_weights else y, Saved(*parts)

    def backward(self, dy: Array, saved: Saved) -> Array:
        """Returns dx (B, T, D) for dy (B, T, D).

        Raises
        ------
        ValueError
            If keys came out of a cache, through which no gradient flows.
        """
        if saved.cached:
            raise ValueError("no gradient flows through a key-value cache: run forward without one")
        B, T, _ = dy.shape
        dy = self.o_proj.backward(dy, saved.output).reshape(B, T, self.num_heads, self.head_dim)  # (B, T, H, K)
        dq, dk, dv = attention.backward(dy, saved.attention)  # (B, T, H, K), (B, T, G, K) twice
        dq, dk = (rotary.backward(d, rotated) for d, rotated in zip((dq, dk), saved.rotations, strict=True))
        if self.q_norm is not None:
            dq, dk = self.q_norm.backward(dq, saved.norms[0]), self.k_norm.backward(dk, saved.norms[1])
        dq, dk, dv = (d.reshape(B, T, -1) for d in (dq, dk, dv))  # (B, T, H K), (B, T, G K) twice
        dx = self.q_proj.backward(dq, saved.projections[0])  # (B, T, D)
        added(dx, self.k_proj.backward(dk, saved.projections[1]), out=dx)
        return added(dx, self.v_proj.backward(dv, saved.projections[2]), out=dx)

    def settings(self) -> str:
        parts = [f"{self.embed_dim}, {self.num_heads}, {self.num_key_value_heads}"]
        parts += [f"window={self.window}"] * (self.window is not None) + [f"dropout={self.dropout:g}"] * (self.dropout > 0)
        return ", ".join(parts)
