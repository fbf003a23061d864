"""Which heads copy: previous-token, duplicate-token and induction heads, found by a text of random tokens said twice.

In r_0 ... r_{n-1} r_0 ... r_{n-1} nothing can be predicted in the first half, and everything in the second, by looking for the
last time the same token stood, and reading what came after it. Two heads do this together: one writes at each place what stood
before it, the other finds the place where that is the present token. Their weights A lie on diagonals::

    previous    mean over t of A[t, t - 1]
    duplicate   mean over the second half of A[t, t - n]            the same token
    induction   mean over the second half of A[t, t - n + 1]        what came after it

`copying` is what it is good for: how many nats less the second half costs than the first. Both kinds of head and this gain appear
together in training: give this function one checkpoint after another.

Reference: C. Olsson et al., In-context learning and induction heads, 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.interpret.probes import Explained, probe_of
from minilm.interpret.surprisal import log_probabilities
from minilm.ops import checks

__all__ = ["HeadScores", "head_scores"]


class HeadScores(NamedTuple):
    """Scores of L layers with H heads, each between 0 and 1."""

    previous: np.ndarray  # (L, H)
    duplicate: np.ndarray  # (L, H)
    induction: np.ndarray  # (L, H)
    copying: float  # nats a token


def head_scores(model: Explained, *, length: int | None = None, texts: int = 8, seed: int = 0) -> HeadScores:
    """Score every head.

    Parameters
    ----------
    model : GPT or Llama, or its `Probe`
    length : int, optional
        n; without it 50, or half the context where that is less.
    texts : int
        How many random texts the scores are means of.
    seed : int

    Returns
    -------
    HeadScores

    Raises
    ------
    ValueError
        If the model is no causal Transformer, or its context is shorter than a text of two tokens said twice.
    """
    probe = probe_of(model)
    if not probe.attends or not probe.causal:
        raise ValueError("head scores are for a causal Transformer: a GPT or a Llama")
    context = 2**31 if probe.context is None else probe.context
    n = min(50, context // 2) if length is None else checks.whole("length", length, 2, context // 2 + 1)
    if n < 2:
        raise ValueError(f"the model's context of {context} tokens is too short for a text that is said twice")
    texts = checks.whole("texts", texts, 1, 2**20)
    generator = np.random.default_rng(checks.whole("seed", seed, 0, 2**63))
    scores, copying = [], []
    second = np.arange(n, 2 * n)
    for _ in range(texts):
        ids = np.tile(generator.integers(0, probe.named, n), 2)  # (2n,)
        weights = probe.attention(ids)  # (L, H, 2n, 2n)
        scores.append(
            (
                weights[:, :, np.arange(1, 2 * n), np.arange(2 * n - 1)].mean(axis=2),
                weights[:, :, second, second - n].mean(axis=2),
                weights[:, :, second, second - n + 1].mean(axis=2),
            )
        )
        h = probe.body(probe.embed(ids[None]))[0][0, :-1]  # (2n - 1, D)
        losses = -log_probabilities(probe.head(np.ascontiguousarray(h)))[np.arange(2 * n - 1), ids[1:]]  # (2n - 1,)
        copying.append(losses[: n - 1].mean() - losses[n:].mean())
    previous, duplicate, induction = np.mean(scores, axis=0)
    return HeadScores(previous, duplicate, induction, float(np.mean(copying)))
