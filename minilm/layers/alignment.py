"""Attention of a recurrent decoder to the states of an encoder: Bahdanau's additive one, and Luong's multiplicative ones.

Both are the same three steps, of which the first is done once for all steps of the decoder::

    keys    = project(memory)                    (B, S, A)      dot: the memory itself
    weights = softmax over s of score(query, keys)  (B, T, S)   zero where key_mask is False
    context = weights · memory                   (B, T, D_m)

    Bahdanau         score = v · tanh(W_q query + b_q + W_k memory)         A numbers each
    Luong, general   score = query · W memory                              A = D_q
    Luong, dot       score = query · memory                                A = D_q = D_m

``forward`` does all three; ``project``, ``attend`` and their backwards are for a decoder that goes step by step, whose gradients
by the keys add up before they go through the projection.

References: D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate, ICLR 2015;
M.-T. Luong, H. Pham, C. D. Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm.layers import initialisers
from minilm.layers.base import Layer
from minilm.layers.linear import Linear
from minilm.layers.residual import added
from minilm.layers.sequences import contiguous
from minilm.ops import additive_attention, attention, checks, padding
from minilm.random import Key
from minilm.typing import Array, DType, Seed

__all__ = ["BahdanauAttention", "LuongAttention", "Output"]


class Output(NamedTuple):
    """What forward returns with ``return_weights``."""

    y: np.ndarray  # (B, T, D_m)
    weights: np.ndarray  # (B, T, S)


class Alignment(Layer):
    """What the two have in common."""

    query_dim: int
    memory_dim: int

    def forward(
        self, query: Array, memory: Array, *, key_mask: Array | None = None, return_weights: bool = False, key: Key | None = None
    ) -> tuple[Array | Output, Any]:
        """Attend.

        Parameters
        ----------
        query : ndarray, shape (B, T, query_dim)
            The decoder's states.
        memory : ndarray, shape (B, S, memory_dim)
            The encoder's states.
        key_mask : ndarray of bool, shape (B, S), optional
            True where a state may be attended. A row that sees none gives zeros.
        return_weights : bool

        Returns
        -------
        context : ndarray, shape (B, T, memory_dim)
            With `return_weights` an `Output` of it and the weights.
        saved
        """
        query = checks.floating("query", query, (None, None, self.query_dim), self.dtype, "(B, T, D_q)")
        memory = checks.floating("memory", memory, (len(query), None, self.memory_dim), self.dtype, "(B, S, D_m)")
        if key_mask is not None:
            memory = padding.zeroed(memory, checks.booleans("key_mask", key_mask, memory.shape[:2], "(B, S)"))
        keys, projected = self.project(memory)
        output, attended = self.attend(query, keys, memory, key_mask=key_mask, return_weights=return_weights)
        return output, (projected, attended)

    def backward(self, dcontext: Array, saved: Any) -> tuple[Array, Array]:
        """dquery (B, T, query_dim) and dmemory (B, S, memory_dim), from dcontext (B, T, memory_dim) and what `forward` saved."""
        projected, attended = saved
        dquery, dkeys, dmemory = self.attend_backward(dcontext, attended)
        return dquery, self.project_backward(dkeys, dmemory, projected)

    def project(self, memory: Array) -> tuple[Array, Any]:
        """The keys (B, S, A) of a memory (B, S, memory_dim), and what `project_backward` needs."""
        raise NotImplementedError

    def project_backward(self, dkeys: Array, dmemory: Array, saved: Any) -> Array:
        """The whole gradient by the memory.

        Parameters
        ----------
        dkeys : ndarray, shape (B, S, A)
        dmemory : ndarray, shape (B, S, memory_dim)
            The gradient through the values alone, of `attend_backward`; it may be written over.
        saved
            From `project`.

        Returns
        -------
        dmemory : ndarray, shape (B, S, memory_dim)
            Through the values and the keys.
        """
        raise NotImplementedError

    def attend(
        self, query: Array, keys: Array, memory: Array, *, key_mask: Array | None = None, return_weights: bool = False
    ) -> tuple[Array | Output, Any]:
        """Attend with keys that `project` has made: once for each memory, where queries come one after another.

        Parameters
        ----------
        query : ndarray, shape (B, T, query_dim)
        keys : ndarray, shape (B, S, A)
        memory : ndarray, shape (B, S, memory_dim)
        key_mask, return_weights
            See `forward`; what the mask hides must be finite in `keys` and `memory`.

        Returns
        -------
        context : ndarray, shape (B, T, memory_dim)
            With `return_weights` an `Output` of it and the weights.
        saved
            For `attend_backward`.
        """
        raise NotImplementedError

    def attend_backward(self, dcontext: Array, saved: Any) -> tuple[Array, Array, Array]:
        """dquery, dkeys, and dmemory through the values alone, from dcontext (B, T, memory_dim) and what `attend` saved."""
        raise NotImplementedError


class BahdanauAttention(Alignment):
    """score = v · tanh(W_q query + b_q + W_k memory).

    Parameters
    ----------
    query_dim, memory_dim : int
        D_q and D_m.
    attention_dim : int, optional
        A; `query_dim` without it.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``query.weight`` (A, D_q), ``query.bias`` (A,), ``memory.weight`` (A, D_m), ``v`` (A,). Formulas and gradient:
    `minilm.ops.additive_attention.spec`.
    """

    def __init__(
        self,
        query_dim: int,
        memory_dim: int,
        attention_dim: int | None = None,
        *,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        A = query_dim if attention_dim is None else attention_dim
        options = {"dtype": dtype, "seed": self._generator}
        self.query_dim, self.memory_dim = query_dim, memory_dim
        self.query = Linear(query_dim, A, **options)
        self.memory = Linear(memory_dim, A, bias=False, **options)
        self.parameter("v", (A,), initialisers.kaiming_uniform(A))

    def project(self, memory: Array) -> tuple[Array, Any]:
        return self.memory.forward(memory)  # (B, S, A)

    def project_backward(self, dkeys: Array, dmemory: Array, saved: Any) -> Array:
        return added(dmemory, self.memory.backward(dkeys, saved), out=dmemory)  # (B, S, D_m)

    def attend(
        self, query: Array, keys: Array, memory: Array, *, key_mask: Array | None = None, return_weights: bool = False
    ) -> tuple[Array | Output, Any]:
        q, queried = self.query.forward(query)  # (B, T, A)
        y, saved = additive_attention.forward(q, keys, self.v.value, memory, key_mask=key_mask)
        return Output(y, saved.weights) if return_weights else y, (queried, saved)

    def attend_backward(self, dcontext: Array, saved: Any) -> tuple[Array, Array, Array]:
        queried, attended = saved
        dq, dkeys, dv, dmemory = additive_attention.backward(dcontext, attended)
        self.v.accumulate(dv)
        return self.query.backward(dq, queried), dkeys, dmemory

    def settings(self) -> str:
        return f"{self.query_dim}, {self.memory_dim}, {self.query.out_features}"


class LuongAttention(Alignment):
    """score = query · W memory ("general"), or query · memory ("dot").

    Parameters
    ----------
    query_dim, memory_dim : int
        D_q and D_m; equal for "dot".
    score : {"general", "dot"}
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameter: ``memory.weight`` (D_q, D_m) of "general"; "dot" has none. It is `minilm.ops.attention` with one head and scale 1.
    """

    def __init__(self, query_dim: int, memory_dim: int, score: str = "general", *, dtype: DType = np.float32, seed: Seed = None):
        super().__init__(dtype=dtype, seed=seed)
        self.query_dim = checks.whole("query_dim", query_dim, 1, 2**31)
        self.memory_dim = checks.whole("memory_dim", memory_dim, 1, 2**31)
        self.score = checks.option("score", score, ("general", "dot"))
        self.memory = None
        if score == "general":
            self.memory = Linear(memory_dim, query_dim, bias=False, dtype=dtype, seed=self._generator)
        elif query_dim != memory_dim:
            raise ValueError(f"query_dim and memory_dim must be equal for score='dot', got {query_dim} and {memory_dim}")

    def project(self, memory: Array) -> tuple[Array, Any]:
        return (memory, None) if self.memory is None else self.memory.forward(memory)  # (B, S, D_q)

    def project_backward(self, dkeys: Array, dmemory: Array, saved: Any) -> Array:
        dkeys = dkeys if self.memory is None else self.memory.backward(dkeys, saved)  # (B, S, D_m)
        return added(dmemory, dkeys, out=dmemory)

    def attend(
        self, query: Array, keys: Array, memory: Array, *, key_mask: Array | None = None, return_weights: bool = False
    ) -> tuple[Array | Output, Any]:
        heads = (query[:, :, None], keys[:, :, None], memory[:, :, None])  # (B, T or S, 1, D_q or D_m)
        y, saved = attention.forward(*heads, scale=1.0, key_mask=key_mask, return_weights=return_weights)
        if return_weights:
            return Output(y.y[:, :, 0], y.weights[:, 0]), saved
        return y[:, :, 0], saved

    def attend_backward(self, dcontext: Array, saved: Any) -> tuple[Array, Array, Array]:
        dcontext = checks.floating("dcontext", dcontext, (*saved.y.shape[:2], saved.y.shape[3]), self.dtype, "(B, T, D_m)")
        parts = attention.backward(dcontext[:, :, None], saved)
        return tuple(contiguous(part[:, :, 0]) for part in parts)

    def settings(self) -> str:
        return f"{self.query_dim}, {self.memory_dim}, {self.score!r}"
