"""Why a text got its label: what each word did for it.

F = log p(label), or with a foil log p(label) - log p(foil), the difference of their scores. A bag of words reads n-grams: what
one did is shared out equally among its words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.interpret import prediction
from minilm.interpret.surprisal import log_probabilities
from minilm.interpret.tasks.decisions import (
    Decision,
    Decisions,
    Loss,
    Place,
    attributed,
    check_device,
    log_odds,
    most_probable,
)
from minilm.layers import AttentionPooling
from minilm.layers.summary import in_a_line
from minilm.models import BERTClassifier, BERTForSequenceClassification, MeanClassifier, RecurrentClassifier
from minilm.models.classifier import Classifier
from minilm.ops import checks

__all__ = ["explain_label"]

BERTS = (BERTClassifier, BERTForSequenceClassification)
ABOUT = "What each word did for the label, from vectors of zeros to the words' own: blue made it more probable, red less."


def explain_label(
    model: Classifier | BERTForSequenceClassification,
    ids: np.ndarray,
    pieces: Sequence[str],
    labels: Sequence[str],
    *,
    text: str = "",
    answer: int | None = None,
    foil: int | None = None,
) -> Decisions:
    """Explain a classifier's label.

    Parameters
    ----------
    model : MeanClassifier, RecurrentClassifier, BERTClassifier or BERTForSequenceClassification
    ids : ndarray of integers, shape (S,)
    pieces, labels : list of str
        What the ids stand for, S; the labels' names, C.
    text : str
        As it is to be shown.
    answer : int, optional
        The label that is explained; the most probable one without it.
    foil : int, optional
        Why not this one.

    Raises
    ------
    ValueError
        If `foil` is the label that is explained.
    """
    check_device(model)
    place, ids = _place(model), np.asarray(ids)
    log_p = log_probabilities(model.logits(ids[None]))[0]  # (C,)
    answer = int(log_p.argmax()) if answer is None else checks.whole("answer", answer, 0, len(labels))
    if foil is not None and checks.whole("foil", foil, 0, len(labels)) == answer:
        raise ValueError(f"the foil must be another label than the answer, got {labels[foil]!r} for both")

    def rows_of(rows):
        return np.repeat(ids[None], len(rows), axis=0)  # (n, S)

    def value(rows):
        return prediction.forward(model.logits(rows_of(rows)), answer, foil)[0]  # (n,)

    def losses(rows):
        terms = [(answer, -1)] + ([] if foil is None else [(foil, 1)])
        return [Loss((rows_of(rows), np.full(len(rows), label)), sign) for label, sign in terms]

    start = _without_words(model, ids)
    result = attributed(model, place, start, 1, value, losses)
    values = _by_words(model, result.values[0], len(ids))
    chosen, other = labels[answer], None if foil is None else labels[foil]
    named = {"name": "label", "answer": chosen, "foil": other, "measure": log_odds(chosen, other)}
    choices = most_probable(np.exp(log_p), labels.__getitem__, most=None)
    decision = Decision.of(result, 0, **named, choices=choices, values=values)
    maps = {}
    if isinstance(model, RecurrentClassifier) and isinstance(model.pooling, AttentionPooling):
        maps = {"attention over the words": np.asarray(model.attention(ids[None]))}
    return Decisions(text, chosen, in_a_line(model), list(pieces), [decision], maps, about=ABOUT)


def _place(model) -> Place:
    """Where the words' vectors enter."""
    if isinstance(model, MeanClassifier):
        return Place.of("pooling")
    if isinstance(model, RecurrentClassifier):
        return Place.of("recurrent", time_first=True)
    if isinstance(model, BERTS):
        return Place.of("bert.embeddings.LayerNorm")
    raise TypeError(f"model must be a classifier of texts, got a {type(model).__name__}")


def _without_words(model, ids):
    """x (S, E) -> x without the words' vectors: what a BERT adds to them, positions and segments, stays."""
    if not isinstance(model, BERTS):
        return np.zeros_like
    table = model.bert.embeddings.word_embeddings.weight.value
    return lambda x: x - table[ids]


def _by_words(model, values, S: int) -> np.ndarray:
    """(S,) of a bag's n-grams (G,): those of the words come first, then those of the pairs, and so on."""
    if not isinstance(model, MeanClassifier):
        return values
    words, start = np.zeros(S), 0  # (S,)
    for n in range(1, min(model.ngrams, S) + 1):
        grams = values[start : start + S - n + 1]  # (S - n + 1,)
        start += len(grams)
        for offset in range(n):
            words[offset : offset + len(grams)] += grams / n
    return words
