"""One layer of a transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm.layers.attention import MultiHeadAttention
from minilm.layers.dropout import Dropout
from minilm.layers.feed_forward import FeedForward
from minilm.layers.layer_norm import LayerNorm
from minilm.layers.recomputed_block import RecomputedBlock, Unsaved
from minilm.layers.residual import added
from minilm.ops import checks
from minilm.ops.workspace import empty, scratch
from minilm.random import Key, at
from minilm.typing import Array, DType, Seed

if TYPE_CHECKING:
    from minilm.layers.attention import Memory
    from minilm.layers.cache import LayerCache
    from minilm.layers.initialisers import Initialiser

__all__ = ["TransformerBlock"]


class Halves(NamedTuple):
    """What the residual halves of a block saved, each of its normalisation, its inner layer and its dropout."""

    attn: tuple
    cross: tuple | None
    mlp: tuple


class Saved(NamedTuple):
    """What backward needs."""

    halves: Halves | Unsaved
    memory: tuple | None  # shape of the memory, where forward was given one and a gradient flows to it


class TransformerBlock(RecomputedBlock):
    """Attention and a position-wise network, each with a residual connection, layer normalisation and dropout.

    ::

        x = x + attn(ln_1(x))                                    norm_first: GPT-2
        x = x + crossattention(ln_cross_attn(x), memory)         where there is one
        x = x + mlp(ln_2(x))

        x = ln_1(x + attn(x)), ...                               not norm_first: Vaswani et al., GPT-1, BERT

    with dropout of what is added.

    Parameters
    ----------
    embed_dim, num_heads : int
        D and H.
    hidden_dim : int, optional
        Of the position-wise network; 4 D without it.
    activation : {"gelu_tanh", "gelu_erf", "relu"}
    norm_first : bool
        Pre-norm or post-norm.
    causal, band, fused
        Of ``attn``, see `MultiHeadAttention`.
    cross_attention : bool
        Whether there is attention to a memory.
    dropout, attention_dropout : float
        Of what a half adds to x, and of the attention's weights; only where `forward` is given a key.
    eps : float
        Of the normalisations.
    recompute : bool
        Keep of forward only the input, and compute the rest again in backward: the same gradients, bit for bit, for the memory of
        one layer and a third more arithmetic.
    initialise, residual_initialise : callable, optional
        What weights start from; `residual_initialise` is for the last map of ``attn``, ``crossattention`` and ``mlp``, whose
        output is added to x. With them biases start from zero.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Sub-layers by GPT-2's names: ``ln_1``, ``attn``, ``ln_cross_attn``, ``crossattention``, ``ln_2``, ``mlp``.

    References
    ----------
    A. Vaswani et al., Attention is all you need, NIPS 2017; A. Radford et al., Language models are unsupervised multitask
    learners, 2019 (pre-norm); T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost,
    arXiv:1604.06174 (recomputation).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        hidden_dim: int | None = None,
        activation: str = "gelu_tanh",
        norm_first: bool = True,
        causal: bool = False,
        band: int | None = None,
        fused: bool = True,
        cross_attention: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        eps: float = 1e-5,
        recompute: bool = False,
        initialise: Initialiser | None = None,
        residual_initialise: Callable | None = None,
        dtype: DType = np.float32,
        seed: Seed | None = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        self.norm_first = checks.flag("norm_first", norm_first)
        self.recompute = checks.flag("recompute", recompute)
        start = {"initialise": initialise, "residual_initialise": residual_initialise, "dtype": dtype, "seed": self._generator}
        self.ln_1 = LayerNorm(embed_dim, eps, dtype=dtype)
        self.attn = MultiHeadAttention(
            embed_dim, num_heads, causal=causal, band=band, dropout=attention_dropout, fused=fused, **start
        )
        self.ln_cross_attn = self.crossattention = None
        if checks.flag("cross_attention", cross_attention):
            self.ln_cross_attn = LayerNorm(embed_dim, eps, dtype=dtype)
            self.crossattention = MultiHeadAttention(embed_dim, num_heads, dropout=attention_dropout, fused=False, **start)
        self.ln_2 = LayerNorm(embed_dim, eps, dtype=dtype)
        self.mlp = FeedForward(embed_dim, hidden_dim, activation, **start)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Array,
        memory: Array | Memory | None = None,
        *,
        key_mask: Array | None = None,
        memory_mask: Array | None = None,
        cache: LayerCache | None = None,
        key: Key | None = None,
    ) -> tuple[Array, Saved]:
        """Run the layer.

        Parameters
        ----------
        x : ndarray, shape (B, T, D)
        memory : ndarray, shape (B, S, D), optional
            What ``crossattention`` reads.
        key_mask : ndarray of bool, shape (B, T), optional
            False for padding, which no position of x sees.
        memory_mask : ndarray of bool, shape (B, S), optional
            The same for the memory.
        cache : LayerCache, optional
            Keys and values of the positions before x; see `minilm.layers.cache`.
        key : Key, optional
            For dropout; without it there is none.

        Returns
        -------
        y : ndarray, shape (B, T, D)
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an array has a wrong shape or dtype, there is a memory and no cross attention, or none and cross attention.
        """
        if memory is None and self.crossattention is not None:
            raise ValueError("memory must be an array (B, S, D) for a block with cross attention, got None")
        if memory is not None and self.crossattention is None:
            raise ValueError(f"memory is for a block with cross_attention=True, got {checks.describe(memory)}")
        x = checks.floats("x", x, self.dtype)
        if memory_mask is not None:
            memory_mask = checks.booleans("memory_mask", memory_mask)
        y, halves = self._run(x=x, memory=memory, key_mask=key_mask, memory_mask=memory_mask, cache=cache, key=key)
        return y, Saved(halves, getattr(memory, "shape", None))

    def _forward(self, x, memory, key_mask, memory_mask, cache, key):
        """y, and what the halves saved."""
        x, attn = self._half(self.ln_1, self.attn, x, key=at(key, "attn"), key_mask=key_mask, cache=cache)
        cross = None
        if self.crossattention is not None:
            options = {"key": at(key, "crossattention"), "key_mask": memory_mask}
            x, cross = self._half(self.ln_cross_attn, self.crossattention, x, memory, **options)
        x, mlp = self._half(self.ln_2, self.mlp, x, key=at(key, "mlp"))
        return x, Halves(attn, cross, mlp)

    def _half(self, norm, f, x, *inputs, key, **options):
        """x + dropout(f(norm(x))), post-norm norm(x + dropout(f(x))), and what was saved."""
        h, normed = norm.forward(x) if self.norm_first else (x, None)  # (B, T, D)
        h, inner = f.forward(h, *inputs, key=key, **options)  # (B, T, D)
        h, dropped = self.dropout.forward(h, key=at(key, "dropout"))
        x = added(x, h, out=h)  # h is this block's own, and nothing saved it
        if not self.norm_first:
            x, normed = norm.forward(x)
        return x, (normed, inner, dropped)

    def backward(self, dy: Array, saved: Saved) -> Array | tuple[Array, Array]:
        """Gradients by the inputs.

        Parameters
        ----------
        dy : ndarray, shape (B, T, D)
        saved : Saved

        Returns
        -------
        dx : ndarray, shape (B, T, D)
        dmemory : ndarray, shape (B, S, D)
            Only where forward was given a memory.
        """
        dx = empty(dy.shape, dy.dtype, like=dy)  # (B, T, D)
        dmemory = None if saved.memory is None else empty(saved.memory, dy.dtype, like=dy)  # (B, S, D)
        with scratch():
            halves = self._saved_again(saved.halves)
            dy = self._half_backward(self.ln_2, self.mlp, dy, halves.mlp)
            if halves.cross is not None:
                dy = self._half_backward(self.ln_cross_attn, self.crossattention, dy, halves.cross, dmemory=dmemory)
            self._half_backward(self.ln_1, self.attn, dy, halves.attn, out=dx)
        return dx if dmemory is None else (dx, dmemory)

    def _half_backward(self, norm, f, dy, saved, *, dmemory=None, out=None):
        """dx, in `out` if there is one; f's gradient by the memory goes into `dmemory`."""
        normed, inner, dropped = saved
        if not self.norm_first:
            dy = norm.backward(dy, normed)  # (B, T, D)
        dh = f.backward(self.dropout.backward(dy, dropped), inner)  # (B, T, D)
        if dmemory is not None:
            dh, dmemory[...] = dh
        if self.norm_first:
            dh = norm.backward(dh, normed)
        return added(dy, dh, out=dh if out is None else out)

    def settings(self) -> str:
        parts = [str(self.attn.embed_dim), str(self.attn.num_heads)] + ["norm_first=False"] * (not self.norm_first)
        return ", ".join(parts + ["recompute=True"] * self.recompute)
