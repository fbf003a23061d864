"""How much each token surprises a model: the bits that it would cost to write it down.

.. math:: s_t = -\\log_2 p(x_t \\mid x_0 \\dots x_{t-1})

The first token is predicted from nothing and has none. The mean over a text is its cross-entropy in bits, 2 to its power the
perplexity. A BERT predicts a token from all others, with a mask in its place; the sum is then the pseudo-log-likelihood.

References: J. Hale, A probabilistic Earley parser as a psycholinguistic model, NAACL 2001; R. Levy, Expectation-based
syntactic comprehension, Cognition 106 (2008), 1126-1177; J. Salazar, D. Liang, T. Q. Nguyen, K. Kirchhoff, Masked language
model scoring, ACL 2020 (the masked one).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minilm.explaining.probes import Probe, probe_of
from minilm.ops import checks

__all__ = ["Surprisal", "log_probabilities", "surprisal"]

CHUNK = 4096  # tokens that are read side by side


class Surprisal(NamedTuple):
    """What a model thought of each token before it saw it; N predictions."""

    places: np.ndarray  # (N,) of the tokens predicted; T stands for the one after the end
    bits: np.ndarray  # (T,) surprisal of each token, NaN where none was predicted
    rank: np.ndarray  # (T,) 1 where the token was the most probable one; 0 where none was predicted
    entropy: np.ndarray  # (N,) bits: how unsure the model was
    top_ids: np.ndarray  # (N, k) the most probable tokens, best first
    top_probabilities: np.ndarray  # (N, k)

    @property
    def total(self) -> float:
        """Bits of the whole text."""
        return float(np.nansum(self.bits))

    @property
    def mean(self) -> float:
        """Bits a predicted token; NaN where there is none."""
        count = int(np.isfinite(self.bits).sum())
        return self.total / count if count else math.nan

    @property
    def perplexity(self) -> float:
        return float(2.0**self.mean)


def surprisal(model, ids, *, top: int = 10, tokenizer=None) -> Surprisal:
    """Surprisal of every token of a text, and what was expected in its place.

    Parameters
    ----------
    model : RNNLanguageModel, GPT or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    top : int
        How many of the most probable tokens to name, k; no more than there are.
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    Surprisal

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the text longer than the model's context.
    """
    probe = probe_of(model, tokenizer)
    ids, top = probe.checked(ids), min(checks.whole("top", top, 1, 2**31), probe.vocab_size)
    T = len(ids)
    places, found = _predicted(probe, ids)  # (N,), (N, V) nats
    bits, rank = np.full(T, np.nan), np.zeros(T, np.int64)  # (T,) each
    inside = places < T  # (N,)
    of_token = found[inside][np.arange(int(inside.sum())), ids[places[inside]]]  # (N',)
    bits[places[inside]] = -of_token / math.log(2)
    rank[places[inside]] = 1 + (found[inside] > of_token[:, None]).sum(axis=1)
    best = np.argsort(-found, axis=1, kind="stable")[:, :top]  # (N, k)
    p = np.exp(found)  # (N, V)
    entropy = -np.where(p > 0, p * found, 0).sum(axis=1) / math.log(2)  # (N,)
    return Surprisal(places, bits, rank, entropy, best, np.take_along_axis(p, best, axis=1))


def _predicted(probe: Probe, ids):
    """The places that are predicted, (N,), and the logarithms of all tokens' probabilities there, (N, V) of float64."""
    queries = probe.queries(ids)
    states = []
    for part in chunks(len(queries.rows), len(ids)):
        states.append(probe.body(probe.embed(queries.rows[part]))[0])  # (R', T, D)
    if not states:
        return queries.places, np.empty((0, probe.vocab_size))
    h = np.concatenate(states)[queries.row, queries.read]  # (N, D)
    return queries.places, log_probabilities(probe.head(np.ascontiguousarray(h)))


def chunks(rows: int, T: int):
    """Slices of so many rows as are read side by side."""
    size = max(1, CHUNK // max(1, T))
    return [slice(start, min(rows, start + size)) for start in range(0, rows, size)]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """log softmax of the last axis in float64, whatever the logits' dtype: sums over a text keep their digits."""
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
