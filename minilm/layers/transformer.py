"""One layer of a transformer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers.attention import MultiHeadAttention
from minilm.layers.base import Layer
from minilm.layers.dropout import Dropout
from minilm.layers.feed_forward import FeedForward
from minilm.layers.layer_norm import LayerNorm
from minilm.layers.residual import added
from minilm.ops import checks
from minilm.ops.workspace import empty, scratch
from minilm.random import at

__all__ = ["TransformerBlock"]


class Saved(NamedTuple):
    """What backward needs: what each residual part saved; or, to be computed again, what forward was given."""

    parts: list | None  # (norm, part, dropout) of each
    again: dict[str, Any] | None
    memory: bool  # whether forward was given a memory


class TransformerBlock(Layer):
    """Attention and a position-wise network, each with a residual connection, layer normalisation and dropout.

    ::

        norm_first           x ← x + dropout(f(norm(x)))         GPT-2
        not norm_first       x ← norm(x + dropout(f(x)))         Vaswani et al., GPT-1, BERT

    for f = ``attn``, then ``crossattention`` where there is one, then ``mlp``.

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
        Of what a part adds to the residual, and of the attention's weights; only where `forward` is given a key.
    eps : float
        Of the normalisations.
    recompute : bool
        Keep of forward only the input, and compute the rest again in backward: the same gradients, bit for bit, for the memory of
        one layer and a third more arithmetic.
    initialise, residual_initialise : callable, optional
        What weights start from, those of the last map of each part from the second; biases then from zero.
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
        initialise=None,
        residual_initialise=None,
        dtype=np.float32,
        seed=None,
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

    def forward(self, x, memory=None, *, key_mask=None, memory_mask=None, cache=None, key=None):
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
        """
        if memory is None and self.crossattention is not None:
            raise ValueError("memory must be an array (B, S, D) for a block with cross attention, got None")
        if memory is not None and self.crossattention is None:
            raise ValueError(f"memory is for a block with cross_attention=True, got {checks.describe(memory)}")
        x = checks.floats("x", x, self.dtype)
        if memory_mask is not None:
            memory_mask = checks.booleans("memory_mask", memory_mask)
        given = {
            "x": x, "memory": memory, "key_mask": key_mask, "memory_mask": memory_mask, "cache": cache, "key": key,
        }  # fmt: skip
        if not self.recompute or cache is not None:
            y, parts = self._forward(**given)
            return y, Saved(parts, None, memory is not None)
        y = empty(x.shape, x.dtype, like=x)  # (B, T, D)
        with scratch():
            y[...] = self._forward(**given)[0]
        return y, Saved(None, given, memory is not None)

    def _forward(self, x, memory, key_mask, memory_mask, cache, key):
        """y, and what each part saved."""
        parts = []
        for name, norm, part in self._parts():
            options = {"key": at(key, name)}
            inputs = ()
            if part is self.attn:
                options |= {"key_mask": key_mask, "cache": cache}
            elif part is self.crossattention:
                inputs, options = (memory,), {**options, "key_mask": memory_mask}
            h, saved_norm = norm.forward(x) if self.norm_first else (x, None)  # (B, T, D)
            h, saved_part = part.forward(h, *inputs, **options)  # (B, T, D)
            h, saved_drop = self.dropout.forward(h, key=at(key, f"{name}.dropout"))
            x = added(x, h, h)  # h is this block's own, and nothing saved it
            if not self.norm_first:
                x, saved_norm = norm.forward(x)
            parts.append((saved_norm, saved_part, saved_drop))
        return x, parts

    def backward(self, dy, saved):
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
        dx, dmemory = empty(dy.shape, dy.dtype, like=dy), None  # (B, T, D)
        if saved.memory:
            memory = saved.again["memory"] if saved.parts is None else saved.parts[1][1].inputs[1].x
            dmemory = empty(memory.shape, dy.dtype, like=dy)  # (B, S, D)
        with scratch():
            parts = saved.parts
            if parts is None:
                parts = self._forward(**saved.again)[1]
            layers = list(self._parts())
            for (_, norm, part), (saved_norm, saved_part, saved_drop) in zip(layers[::-1], parts[::-1], strict=True):
                if not self.norm_first:
                    dy = norm.backward(dy, saved_norm)  # (B, T, D)
                dh = self.dropout.backward(dy, saved_drop)  # (B, T, D)
                dh = part.backward(dh, saved_part)
                if part is self.crossattention:
                    dh, dmemory[...] = dh
                if self.norm_first:
                    dh = norm.backward(dh, saved_norm)
                dy = added(dy, dh, dx if part is self.attn else dh)
        return (dx, dmemory) if saved.memory else dx

    def _parts(self):
        """Each part of the layer with its name and its normalisation, in order."""
        yield "attn", self.ln_1, self.attn
        if self.crossattention is not None:
            yield "crossattention", self.ln_cross_attn, self.crossattention
        yield "mlp", self.ln_2, self.mlp

    def settings(self):
        parts = [str(self.attn.embed_dim), str(self.attn.num_heads)] + ["norm_first=False"] * (not self.norm_first)
        return ", ".join(parts + ["recompute=True"] * self.recompute)
