"""The logit lens: what a Transformer would say if it ended after an earlier layer.

All layers of a Transformer add to one residual stream x, and the last step alone turns it to logits: head(x). The lens
applies that step to the stream as it is after each layer::

    p_l[t] = softmax(head(norm(x_l[t])))            l = 0 (embedding) ... L, whose p_L is the model's own prediction

Early layers of a trained model tend to guess from the token alone; one sees at which layer the prediction is made.

Reference: nostalgebraist, interpreting GPT: the logit lens, 2020; N. Belrose et al., Eliciting latent predictions from
transformers with the tuned lens, arXiv:2303.08112 (what it misses).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, probe_of
from minilm.interpret.surprisal import blocks, log_probabilities
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["Lens", "logit_lens"]


class Lens(NamedTuple):
    """Predictions after each of L + 1 layers, the embedding included, at each of T places."""

    layers: list[str]  # names of the L + 1
    top_ids: np.ndarray  # (L + 1, T, k) the most probable tokens, best first
    top_probabilities: np.ndarray  # (L + 1, T, k)
    final_probability: np.ndarray  # (L + 1, T) of the token that the last layer ranks first
    divergence: np.ndarray  # (L + 1, T) bits: Kullback-Leibler, of the last layer's prediction from this one


def logit_lens(model: Explained, ids: ArrayLike, *, top: int = 5, tokenizer: Tokenizer | None = None) -> Lens:
    """Read every layer's residual stream with the model's own head.

    Parameters
    ----------
    model : GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (T,)
    top : int
        k.
    tokenizer : Tokenizer, optional
        Of a BERT, which reads the text unmasked here.

    Returns
    -------
    Lens

    Raises
    ------
    ValueError
        For a recurrent model, whose layers write into no common stream.
    """
    probe = probe_of(model, tokenizer)
    if not probe.attends:
        raise ValueError(probe.lacks["lens"])
    ids, top = probe.checked(ids), min(checks.whole("top", top, 1, 2**31), probe.named)
    stream = probe.stream(ids)
    L, T = len(stream), len(ids)
    best, probabilities = np.empty((L, T, top), np.int64), np.empty((L, T, top))
    final, divergence = np.empty((L, T)), np.empty((L, T))
    for part in blocks(T):
        last = log_probabilities(probe.lens(stream[-1][1][part]))  # (n, V)
        p, winner = np.exp(last), last[:, : probe.named].argmax(axis=1)  # (n, V), (n,)
        for layer, (_, x) in enumerate(stream):
            log_p = log_probabilities(probe.lens(x[part]))  # (n, V)
            best[layer, part] = np.argsort(-log_p[:, : probe.named], axis=1, kind="stable")[:, :top]
            probabilities[layer, part] = np.exp(np.take_along_axis(log_p, best[layer, part], axis=1))
            final[layer, part] = np.exp(log_p[np.arange(len(winner)), winner])
            divergence[layer, part] = np.maximum(0, (p * (last - log_p)).sum(axis=1)) / math.log(2)
    return Lens([name for name, _ in stream], best, probabilities, final, divergence)
