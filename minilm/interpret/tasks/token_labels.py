"""Why a word got its label from a BERT that labels tokens: F = log p(label) - log p(foil), of the word's first piece.

Without a foil the label is held against the next best, so that F says by how much the model preferred it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.interpret.surprisal import log_probabilities
from minilm.interpret.tasks.decisions import (
    Decision,
    Decisions,
    Loss,
    Place,
    Predictions,
    attributed,
    check_device,
    log_odds,
    most_probable,
)
from minilm.layers.summary import in_a_line
from minilm.models import BERTForTokenClassification
from minilm.ops import checks

__all__ = ["explain_token_labels"]

ABOUT = "By how much each word's label was preferred to another, and what each piece of the text did for it."


def explain_token_labels(
    model: BERTForTokenClassification,
    ids: np.ndarray,
    pieces: Sequence[str],
    words: Sequence[str],
    places: Sequence[int],
    labels: Sequence[str],
    *,
    text: str = "",
    answer: str = "",
    chosen: Sequence[int] | None = None,
    foil: int | None = None,
) -> Decisions:
    """Explain the labels of one text's words.

    Parameters
    ----------
    model : BERTForTokenClassification
    ids : ndarray of integers, shape (T,)
    pieces : list of str
        What the ids stand for.
    words : list of str
        N, each with the place of its first piece in `places`.
    places : sequence of int
    labels : list of str
        The C labels' names.
    text, answer : str
        As they are to be shown.
    chosen : sequence of int, optional
        The words' labels, N; the most probable ones without it.
    foil : int, optional
        Why not this one; words that have it are left out.

    Raises
    ------
    ValueError
        Every word has the foil.
    """
    check_device(model)
    if len(labels) < 2:
        raise ValueError("a model with one label decides nothing")
    ids = np.asarray(ids)
    log_p = log_probabilities(model.logits(ids[None]))[0][list(places)]  # (N, C)
    best = log_p.argmax(axis=1) if chosen is None else np.asarray(chosen)  # (N,)
    other = np.where(np.arange(log_p.shape[1]) == best[:, None], -np.inf, log_p).argmax(axis=1)  # (N,) the next best
    kept = np.arange(len(words))
    if foil is not None:
        checks.whole("foil", foil, 0, len(labels))
        kept, other = np.flatnonzero(best != foil), np.full(len(words), foil)
        if not len(kept):
            raise ValueError(f"the foil must be another label than the answer, got {labels[foil]!r} for every word")
    predictions = Predictions(np.asarray(places)[kept], best[kept], other[kept])

    def repeated(rows):
        return np.repeat(ids[None], len(rows), axis=0)  # (n, T)

    def value(rows):
        return predictions.value(model.logits(repeated(rows)), rows)  # (n,)

    def losses(rows):
        return [Loss((repeated(rows), targets), factor) for targets, factor in predictions.targets(rows, len(ids))]

    table = model.bert.embeddings.word_embeddings.weight.value
    place = Place.of("bert.embeddings.LayerNorm")
    result = attributed(model, place, lambda x: x - table[ids], len(kept), value, losses)
    decisions = []
    for n, word in enumerate(kept):
        choices = most_probable(np.exp(log_p[word]), labels.__getitem__)
        name, against = labels[best[word]], labels[other[word]]
        measure = log_odds(name, against)
        decisions.append(Decision.of(result, n, name=words[word], answer=name, foil=against, measure=measure, choices=choices))
    spelled = [f"{words[word]}/{labels[best[word]]}" for word in kept]
    return Decisions(text, answer, in_a_line(model), list(pieces), decisions, labels=spelled, about=ABOUT)
