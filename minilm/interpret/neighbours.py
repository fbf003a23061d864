"""Which tokens are nearest to one another in the embedding, by the cosine of the angle between their vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from minilm.interpret.probes import Explained, probe_of
from minilm.interpret.surprisal import blocks
from minilm.ops import checks
from minilm.tokenizers import Tokenizer

__all__ = ["nearest"]


def nearest(
    model: Explained, ids: ArrayLike, *, count: int = 8, tokenizer: Tokenizer | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbours of tokens.

    .. math:: \\cos(i, j) = e_i \\cdot e_j / (|e_i| |e_j|)

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, or the `Probe` of a model
    ids : ndarray of integers, shape (N,)
    count : int
        Neighbours of each, k; a token is not its own neighbour.
    tokenizer : Tokenizer, optional
        Of a BERT.

    Returns
    -------
    neighbours : ndarray of integers, shape (N, k)
        Nearest first.
    cosines : ndarray, shape (N, k)
        0 for a vector of zeros, which has no direction.
    """
    probe = probe_of(model, tokenizer)
    table = probe.table  # (V, E)
    ids = checks.ids("ids", np.asarray(ids), len(table), (None,), "(N,)")
    count = min(checks.whole("count", count, 1, 2**31), probe.named - 1)
    lengths = np.linalg.norm(table, axis=1)  # (V,)
    lengths = np.where(lengths == 0, 1, lengths)
    unit = table / lengths[:, None]  # (V, E)
    order, similarities = np.empty((len(ids), count), np.int64), np.empty((len(ids), count), table.dtype)  # (N, k) each
    for part in blocks(len(ids)):
        cosines = unit[ids[part]] @ unit.T  # (n, V)
        cosines[np.arange(len(cosines)), ids[part]] = -np.inf
        cosines[:, probe.named :] = -np.inf
        order[part] = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        similarities[part] = np.take_along_axis(cosines, order[part], axis=1)
    return order, similarities
