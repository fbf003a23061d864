"""Direct preference optimisation (DPO): learn from pairs of answers of which people prefer one.

Of a prompt x, a better answer w and a worse one l, the model of Bradley and Terry says that w is preferred with probability
σ(r(w) - r(l)) for some reward r. The policy π that earns most reward while it stays near a reference, the largest E[r] -
β KL(π ‖ reference), has π(y) ∝ reference(y) exp(r(y) / β); solved for the reward::

    r(y) = β log(π(y) / reference(y)) + a number that depends on x alone

which cancels in r(w) - r(l). So the likelihood of the preferences is one of π alone, and no model of the reward is needed::

    h    = β (log π(w) - log reference(w) - log π(l) + log reference(l))
    loss = -log σ(h),      dloss/dh = -σ(-h)

Of an answer of n tokens that count, log π = -n L, with L the mean cross-entropy that every model here gives. So::

    dloss/dL(w) = σ(-h) β n_w,      dloss/dL(l) = -σ(-h) β n_l

and the gradient by the parameters is the model's own backward, with these numbers for dloss.

Source: R. Rafailov et al., Direct preference optimization: your language model is secretly a reward model, NeurIPS 2023,
arXiv:2305.18290.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minilm.ops import checks
from minilm.typing import Ids

__all__ = ["DPO", "Answer", "Pair"]


class Answer(NamedTuple):
    """A prompt and an answer: what a model reads, and what it is to predict, -100 where that is part of the prompt."""

    ids: np.ndarray  # (1, T)
    targets: np.ndarray  # (1, T)


class Pair(NamedTuple):
    """Two answers to one prompt."""

    better: Answer
    worse: Answer


class Saved(NamedTuple):
    """What backward needs, of each pair."""

    answers: list[tuple[Any, Any]]  # what the model saved of both
    slopes: list[tuple[float, float]]  # dloss/dL of both


class DPO:
    """The loss of preferences, beside a model that learns by it.

    Parameters
    ----------
    model : GPT or Llama
        The policy π, which learns.
    reference : GPT or Llama
        The model that it was before, whose weights stay as they are.
    beta : float
        β, more than 0: the larger it is, the nearer the policy stays to the reference.

    Raises
    ------
    ValueError, TypeError
        `beta` is no such number.
    """

    def __init__(self, model: Any, reference: Any, beta: float = 0.1):
        self.model, self.reference = model, reference
        self.beta = checks.number("beta", beta, 0, math.inf, low_open=True, high_open=True)

    def forward(self, pairs: Sequence[Pair]) -> tuple[float, Saved]:
        """The loss of some pairs.

        Parameters
        ----------
        pairs : sequence of Pair
            One at least. The model reads each answer by itself, so they may have any lengths.

        Returns
        -------
        loss : float
            Mean of -log σ(h) over the pairs, in nats.
        saved : Saved

        Raises
        ------
        ValueError
            There is no pair, or an answer has no target that counts.
        """
        if not pairs:
            raise ValueError("pairs must hold at least one, got none")
        total, answers, slopes = 0.0, [], []
        for better, worse in pairs:
            (L_w, saved_w), (L_l, saved_l) = (self.model.forward(*answer) for answer in (better, worse))
            n_w, n_l = (_counted(answer.targets) for answer in (better, worse))
            reference_w, reference_l = (self.reference.loss(*answer) for answer in (better, worse))
            h = self.beta * (n_w * float(reference_w - L_w) - n_l * float(reference_l - L_l))
            total += max(0.0, -h) + math.log1p(math.exp(-abs(h)))  # -log σ(h)
            slope = 0.5 * (1 - math.tanh(h / 2)) * self.beta / len(pairs)  # σ(-h) β, of a mean over the pairs
            answers.append((saved_w, saved_l))
            slopes.append((slope * n_w, -slope * n_l))
        return total / len(pairs), Saved(answers, slopes)

    def backward(self, saved: Saved) -> None:
        """Add the gradients of the loss by the model's parameters to their buffer, from what `forward` saved."""
        for answers, slopes in zip(saved.answers, saved.slopes, strict=True):
            for answer, slope in zip(answers, slopes, strict=True):
                self.model.backward(answer, dloss=slope)


def _counted(targets: Ids) -> int:
    count = int((np.asarray(targets) != -100).sum())
    if count == 0:
        raise ValueError("an answer has no token that counts: all its targets are -100")
    return count
