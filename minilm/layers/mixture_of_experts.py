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
    experts: list[tuple]  # of each expert: its positions, their places in `chosen`, what it gave, what it saved
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
    Sub-layers by Mixtral's names: ``gate`` (E, D) and ``experts``. It computes on the CPU, expert by expert.

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
        if devices.on_gpu(x):
            raise TypeError("a MixtureOfExperts computes on the CPU, got an array of the GPU")
        rows, k = x.reshape(-1, x.shape[-1]), self.experts_per_token  # (N, D)
        r, saved_gate = self.gate.forward(rows)  # (N, E)
        chosen = np.argsort(-r, axis=1, kind="stable")[:, :k]  # (N, k)
        w, saved_weights = softmax.forward(np.take_along_axis(r, chosen, axis=1))  # (N, k)
        y, experts = np.zeros_like(rows), []  # (N, D)
        for e, expert in enumerate(self.experts):
            positions, places = np.nonzero(chosen == e)  # (M,) each
            if not positions.size:
                experts.append((positions, places, None, None))
                continue
            out, saved = expert.forward(rows[positions])  # (M, D)
            y[positions] += w[positions, places, None] * out
            experts.append((positions, places, out, saved))
        return y.reshape(x.shape), Saved(saved_gate, (w, saved_weights), chosen, experts, x.shape)

    def backward(self, dy: Array, saved: Saved) -> Array:
        """Returns dx (..., D)."""
        dy = dy.reshape(-1, dy.shape[-1])  # (N, D)
        w, saved_weights = saved.weights
        dx, dw = np.zeros_like(dy), np.zeros_like(w)  # (N, D), (N, k)
        for expert, (positions, places, out, saved_expert) in zip(self.experts, saved.experts, strict=True):
            if positions.size:
                d = dy[positions]  # (M, D)
                dw[positions, places] = (d * out).sum(axis=1)
                dx[positions] += expert.backward(w[positions, places, None] * d, saved_expert)
        dr = np.zeros((len(dy), len(self.experts)), dy.dtype)  # (N, E)
        np.put_along_axis(dr, saved.chosen, softmax.backward(dw, saved_weights), axis=1)
        return (dx + self.gate.backward(dr, saved.gate)).reshape(saved.shape)

    def settings(self) -> str:
        expert = self.experts[0].settings()
        return f"{expert}, {len(self.experts)} experts, {self.experts_per_token} a token"
