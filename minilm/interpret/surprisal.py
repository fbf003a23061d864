"""How much each token surprises a model: the bits that it takes to encode it.

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
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, Probe, probe_of
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

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


def surprisal(model: Explained, ids: ArrayLike, *, top: int = 10, tokenizer: Tokenizer | None = None) -> Surprisal:
    """Surprisal of every token of a text, and what was expected in its place.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
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
    ids, top = probe.checked(ids), min(checks.whole("top", top, 1, 2**31), probe.named)
    T = len(ids)
    places, h = states_of(probe, ids)  # (N,), (N, D)
    bits, rank = np.full(T, np.nan), np.zeros(T, np.int64)  # (T,) each
    entropy, best, of_best = np.empty(len(places)), np.empty((len(places), top), np.int64), np.empty((len(places), top))
    for part in blocks(len(places)):
        log_p = log_probabilities(probe.head(h[part]))  # (n, V)
        p = np.exp(log_p)  # (n, V)
        entropy[part] = -np.where(p > 0, p * log_p, 0).sum(axis=1) / math.log(2)
        named = log_p[:, : probe.named]  # (n, V')
        best[part] = np.argsort(-named, axis=1, kind="stable")[:, :top]
        of_best[part] = np.take_along_axis(p, best[part], axis=1)
        inside = places[part] < T  # (n,)
        where = places[part][inside]  # (n',)
        of_token = log_p[inside, ids[where]]  # (n',)
        bits[where] = -of_token / math.log(2)
        rank[where] = 1 + (named[inside] > of_token[:, None]).sum(axis=1)
    return Surprisal(places, bits, rank, entropy, best, of_best)


def states_of(probe: Probe, ids):
    """The places that are predicted, (N,), and what the head reads there, (N, D)."""
    queries = probe.queries(ids)
    states = np.zeros((0, len(ids), 1), probe.table.dtype)
    parts = [probe.body(probe.embed(queries.rows[part]))[0] for part in chunks(probe, len(queries.rows), len(ids))]
    if parts:
        states = np.concatenate(parts)  # (R, T, D)
    return queries.places, np.ascontiguousarray(states[queries.row, queries.read])


def chunks(probe: Probe, rows: int, T: int) -> list[slice]:
    """Slices of so many rows as are read side by side: what a large model saves of each token fills the memory soon."""
    most = min(CHUNK, max(512, int(3e10 / max(1, probe.model.parameters.count))))
    size = max(1, most // max(1, T))
    return [slice(start, min(rows, start + size)) for start in range(0, rows, size)]


def blocks(rows: int, size: int = 64) -> list[slice]:
    """Slices of so many rows as there are distributions over the vocabulary at once."""
    return [slice(start, min(rows, start + size)) for start in range(0, rows, size)]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """log softmax of the last axis in float64, whatever the logits' dtype: sums over a text keep their digits."""
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
