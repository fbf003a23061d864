"""Two models, or two checkpoints of one, side by side on a text: where they differ, and by how much.

Of each predicted token the bits that it costs each model, and how far apart the two predictions are as a whole: the
Jensen-Shannon divergence of p and q, which is symmetric and at most one bit::

    m  = (p + q) / 2
    JS = (KL(p | m) + KL(q | m)) / 2        KL(p | m) = sum_v p_v log2(p_v / m_v)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, probe_of
from minilm.interpret.surprisal import Surprisal, blocks, log_probabilities, states_of, surprisal
from minilm.layers.summary import in_a_line
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """How two models predict the N tokens of a text."""

    model: str  # the other model in a few words
    other: Surprisal  # what the text costs it
    gain: np.ndarray  # (T,) bits that each token costs the other model less; NaN where it is not predicted
    divergence: np.ndarray  # (N,) bits: Jensen-Shannon, between the two predictions

    def to_dict(self) -> dict[str, Any]:
        """The fields, and of the other's surprisal also its sum and its mean."""
        other = self.other
        return {**self._asdict(), "other": {**other._asdict(), "total_bits": other.total, "mean_bits": other.mean}}


def compare(
    model: Explained, other: Explained, ids: ArrayLike, *, top: int = 10, tokenizer: Tokenizer | None = None
) -> Comparison:
    """Compare what two models expect of one text.

    Parameters
    ----------
    model, other : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
        Over the same vocabulary; both predict from what comes before, or both from all around.
    ids : ndarray of integers, shape (T,)
    top : int
        Most probable tokens of the other's `Surprisal`.
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        For models of different vocabularies or kinds.
    """
    probes = probe_of(model, tokenizer), probe_of(other, tokenizer)
    sizes = [probe.vocab_size for probe in probes]
    if sizes[0] != sizes[1]:
        raise ValueError(f"the two models must have one vocabulary, got {sizes[0]:,} tokens and {sizes[1]:,}")
    if probes[0].causal != probes[1].causal:
        raise ValueError("one of the two models predicts the next token and the other a masked one: they cannot be compared")
    ids, top = probes[0].checked(probes[1].checked(ids)), checks.whole("top", top, 1, 2**31)
    costs = [surprisal(probe, ids, top=top) for probe in probes]
    states = [states_of(probe, ids)[1] for probe in probes]  # (N, D) and (N, D')
    divergence = np.empty(len(costs[0].places))  # (N,)
    for part in blocks(len(divergence)):
        log_p, log_q = (log_probabilities(probe.head(h[part])) for probe, h in zip(probes, states, strict=True))  # (n, V) each
        log_m = np.logaddexp(log_p, log_q) - math.log(2)
        halves = [(np.exp(each) * np.where(np.isfinite(each), each - log_m, 0)).sum(axis=1) for each in (log_p, log_q)]
        divergence[part] = np.maximum(0, halves[0] + halves[1]) / (2 * math.log(2))
    net = probes[1].model
    name = in_a_line(net)
    return Comparison(name, costs[1], costs[0].bits - costs[1].bits, divergence)
