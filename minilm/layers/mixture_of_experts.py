"""A mixture of experts: several position-wise networks, of which each position is computed by a few."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers.base import Layer
from minilm.layers.gated_feed_forward import GatedFeedForward
from minilm.layers.initialisers import Initialiser
from minilm.layers.linear import Linear
from minilm.ops import checks, softmax
from minilm.random import Key
from minilm.typing import Array, DType, Seed

__all__ = ["MixtureOfExperts"]


class Saved(NamedTuple):
    """What backward needs."""

    gate: Any  # what the router saved
    weights: Any  # what the softmax saved
    chosen: np.ndarray  # (N, k) experts of each position
    experts: list[tuple]  # of each expert: its positions, their weights, what it gave, what it saved
    shape: tuple[int, ...]  # of x


class MixtureOfExperts(Layer):
    """y[n] = sum over the k chosen experts e of w[n, e] expert_e(x[n]).

    ::

        r = x W_gateᵀ                                (N, E)      the router
        chosen[n] = the k largest of r[n]            (N, k)
        w[n] = softmax(r[n, chosen[n]])              (N, k)      the softmax over all, divided by its sum over the chosen

    Parameters
    ----------
    embed_dim, hidden_dim : int
        D, and F of each expert.
    num_experts, experts_per_token : int
        E and k.
    activation, initialise
        See `minilm.layers.GatedFeedForward`.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Sub-layers by Mixtral's names: ``gate`` (E, D) and ``experts``. On the CPU an expert computes the positions that have chosen
    it, and on a GPU all of them, the others with weight 0: E / k times the arithmetic, but the host need not wait for how many.

    **The router's gradient.** Which experts are chosen is a step, whose derivative is 0 but where two are equal. How much each
    counts is smooth: with dw[n, j] = dy[n] · expert_{chosen[n, j]}(x[n]) and the gradient of a softmax,

        dr[n, chosen[n, j]] = w[n, j] (dw[n, j] - sum_i w[n, i] dw[n, i]),   0 for the others

    so that an expert that is never chosen learns nothing, and neither does the router about it: what losses of balance are for.

    References
    ----------
    N. Shazeer et al., Outrageously large neural networks: the sparsely-gated mixture-of-experts layer, ICLR 2017; A. Q. Jiang et
    al., Mixtral of experts, arXiv:2401.04088.
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        num_experts: int = 8,
        experts_per_token: int = 2,
        activation: str = "silu",
        *,
        initialise: Initialiser | None = None,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        super().__init__(dtype=dtype, seed=seed)
        E = checks.whole("num_experts", num_experts, 1, 2**20)
        self.experts_per_token = checks.whole("experts_per_token", experts_per_token, 1, E + 1)
        options = {"initialise": initialise, "dtype": dtype, "seed": self._generator}
        self.gate = Linear(embed_dim, E, bias=False, **options)
        self.experts = [GatedFeedForward(embed_dim, hidden_dim, activation, **options) for _ in range(E)]

    def forward(self, x: Array, *, key: Key | None = None) -> tuple[Array, Saved]:
        """Returns y (..., D) for x (..., D), and what `backward` needs."""
        x = checks.floats("x", x, self.dtype)
        rows = x.reshape(-1, x.shape[-1])  # (N, D)
        r, saved_gate = self.gate.forward(rows)  # (N, E)
        chosen = _largest(r, self.experts_per_token)  # (N, k)
        w, saved_weights = softmax.forward(np.take_along_axis(r, chosen, axis=1))  # (N, k)
        y, experts = np.zeros_like(rows), []  # (N, D)
        for e, expert in enumerate(self.experts):
            part, weight = _part(chosen == e, w)
            if part is not None and not part.size:
                experts.append((part, weight, None, None))
                continue
            out, saved = expert.forward(rows if part is None else rows[part])  # (M, D)
            y = _plus(y, part, weight[:, None] * out)
            experts.append((part, weight, out, saved))
        return y.reshape(x.shape), Saved(saved_gate, saved_weights, chosen, experts, x.shape)

    def backward(self, dy: Array, saved: Saved) -> Array:
        """Returns dx (..., D)."""
        dy = dy.reshape(-1, dy.shape[-1])  # (N, D)
        dx = np.zeros_like(dy)  # (N, D)
        dr = np.zeros_like(saved.chosen, shape=(len(dy), len(self.experts)), dtype=dy.dtype)  # (N, E); first what weights get
        for e, (expert, (part, weight, out, saved_expert)) in enumerate(zip(self.experts, saved.experts, strict=True)):
            if saved_expert is not None:
                d = dy if part is None else dy[part]  # (M, D)
                dr[:, e] = _plus(dr[:, e], part, (d * out).sum(axis=1))
                dx = _plus(dx, part, expert.backward(weight[:, None] * d, saved_expert))
        dchosen = softmax.backward(np.take_along_axis(dr, saved.chosen, axis=1), saved.weights)  # (N, k)
        dr.fill(0)
        for e in range(len(self.experts)):
            dr[:, e] = (dchosen * (saved.chosen == e)).sum(axis=1)
        return (dx + self.gate.backward(dr, saved.gate)).reshape(saved.shape)

    def settings(self) -> str:
        expert = self.experts[0].settings()
        return f"{expert}, {len(self.experts)} experts, {self.experts_per_token} a token"


def _largest(r, k: int):
    """The numbers (N, k) of the k largest of each row of r (N, E), the largest first, and of equal ones the first."""
    return np.argsort(-r, axis=1, kind="stable")[:, :k]


def _part(is_chosen, w):
    """Which rows an expert computes, (M,) or None for all, and its weight for each, (M,).

    How many there are a GPU knows, and not the host, which would have to wait to be told: there all rows are computed.
    """
    weight = (w * is_chosen).sum(axis=1)  # (N,): 0 where it was not chosen
    if devices.on_gpu(w):
        return None, weight
    part = np.flatnonzero(is_chosen.any(axis=1))  # (M,)
    return part, weight[part]


def _plus(y, part, more):
    """y with `more` added to some rows, each at most once, or to all; y may be written over."""
    if part is None:
        return y + more
    y[part] += more
    return y
