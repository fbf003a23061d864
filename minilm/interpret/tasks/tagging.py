"""Why a word got its tag: from the words, and from the tags beside it.

A conditional random field scores whole sequences y of tags, with emissions e (T, K) and transitions A (K, K)::

    s(y) = start[y_1] + sum_t e_t[y_t] + sum_t A[y_t, y_t+1] + end[y_T]

That y_t and not the foil y' stands at t, the other tags as they are, is decided by the difference, in which log Z cancels::

    F = s(y) - s(.. y_t-1 y' y_t+1 ..)
      = e_t[y_t] - e_t[y']                                    emission: the words
      + A[y_t-1, y_t] - A[y_t-1, y']                          transition from the tag before, or the start
      + A[y_t, y_t+1] - A[y', y_t+1]                          transition to the tag after, or the end

Of an `IntentTagger` there is one decision more, F = log p(class) - log p(the next best) of the whole sentence.

The transitions do not depend on the words, so that what integrated gradients share out among these is the change of the emission.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
from minilm.layers import CRF
from minilm.layers.summary import in_a_line
from minilm.models import IntentTagger, Tagger
from minilm.models.tagger import Spelling
from minilm.ops import checks

__all__ = ["explain_tags"]

ABOUT = (
    "By how much each word's tag was preferred to another, the tags beside it as they are: a share from the words (emission), "
    "and shares from the tags before and after (transitions). The colours share the words' part out among them."
)


def explain_tags(
    model: Tagger,
    inputs: Sequence,
    pieces: Sequence[str],
    tags: Sequence[str],
    *,
    best: np.ndarray,
    text: str = "",
    answer: str = "",
    foil: int | None = None,
    classes: Sequence[str] = (),
    other_class: int | None = None,
) -> Decisions:
    """Explain the tags of one sentence.

    Parameters
    ----------
    model : Tagger or IntentTagger
    inputs : tuple
        What `Tagger.emissions` takes, of one row: ids (1, T), lengths (1,), a `Spelling` or None, marks (1, T) or none.
    pieces, tags : list of str
        The T words; the names of the K tags.
    best : ndarray of integers, shape (T,)
        The tags that were given: what `Tagger.decode` returns.
    text, answer : str
        What was read, and the tags as they are to be shown; of an `IntentTagger` the class is put before them.
    foil : int, optional
        Why not this tag; without it, at each word, the one that comes nearest. Words that have it are left out.
    classes : list of str
        Of an `IntentTagger`.
    other_class : int, optional
        Why not this class.

    Raises
    ------
    ValueError
        If the model has one tag, or `foil` is the answer for every word.
    """
    check_device(model)
    best = np.asarray(best)
    T, K = len(best), len(tags)
    if K < 2:
        raise ValueError("a model with one tag decides nothing")
    if foil is not None:
        checks.whole("foil", foil, 0, K)

    emissions = model.emissions(*inputs)[0].astype(np.float64)  # (T, K)
    parts = _parts(model.crf, emissions, best)  # (T, K, 3)
    foils = parts.sum(axis=2).argmin(axis=1) if foil is None else np.full(T, foil)  # (T,)
    words = np.flatnonzero(best != foils)  # (N,) that are asked about
    if not len(words):
        raise ValueError(f"the foil must be another tag than the answer, got {tags[foils[0]]!r} for every word")
    parts = parts[np.arange(T), foils]  # (T, 3)

    def value(rows):
        n, rows = np.arange(len(rows)), words[rows]  # (n,) each
        e = model.emissions(*_repeated(inputs, len(rows)))[n, rows].astype(np.float64)  # (n, K)
        return e[n, best[rows]] - e[n, foils[rows]] + parts[rows, 1:].sum(axis=1)

    def losses(rows):
        rows = words[rows]  # (n,); -log p(y) = log Z - s(y)
        chosen = np.repeat(best[None], len(rows), axis=0)  # (n, T)
        other = chosen.copy()
        other[np.arange(len(rows)), rows] = foils[rows]
        return [Loss(_arguments(model, inputs, chosen), -1), Loss(_arguments(model, inputs, other), 1)]

    result = attributed(model, Place.of("recurrent", time_first=True), np.zeros_like, len(words), value, losses)
    marginals = np.asarray(model.crf.marginals(emissions[None].astype(model.dtype)))[0]  # (T, K)
    best_tags = [tags[tag] for tag in best]
    decisions, labels = [], [f"{pieces[t]}/{best_tags[t]}" for t in words]
    for n, t in enumerate(words):
        chosen, other = best_tags[t], tags[foils[t]]
        named = {"name": pieces[t], "answer": chosen, "foil": other, "measure": f"score({chosen}) − score({other})"}
        choices, shares = most_probable(marginals[t], tags.__getitem__), _shares(best_tags, t, parts[t])
        decisions.append(Decision.of(result, n, **named, choices=choices, shares=shares))
    if classes:
        whole = _of_class(model, inputs, best, classes, other_class)
        decisions, labels = [whole, *decisions], [f"intent: {whole.answer}", *labels]
        answer = f"{whole.answer}: {answer}"
    return Decisions(text, answer, in_a_line(model), list(pieces), decisions, labels=labels, about=ABOUT)


def _parts(crf: CRF, emissions: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The three terms of F for each word and each foil y', (T, K, 3): inf where the foil is the word's own tag."""
    T = len(best)
    scores = np.stack([emissions, *_transitions(crf, best)], axis=-1)  # (T, K, 3)
    parts = scores[np.arange(T), best][:, None] - scores  # (T, K, 3)
    parts[np.arange(T), best] = np.inf
    return parts


def _shares(best_tags: list[str], t: int, parts: np.ndarray) -> list[tuple[str, float]]:
    """The terms of F at word t, (3,), by their names; `best_tags` are the names of all words' tags."""
    before = f"tag before: {best_tags[t - 1]}" if t else "start"
    after = f"tag after: {best_tags[t + 1]}" if t + 1 < len(best_tags) else "end"
    return list(zip(("emission: the words", before, after), parts.tolist(), strict=True))


def _of_class(model, inputs, best, classes, other_class) -> Decision:
    """Why the whole sentence is of its class."""
    p = model.read(*inputs)[0][0].astype(np.float64)  # (C,)
    order = np.argsort(-p, kind="stable")  # (C,)
    chosen = int(order[0])
    other = int(order[1]) if other_class is None else checks.whole("other_class", other_class, 0, len(classes))
    if other == chosen:
        raise ValueError(f"the foil must be another intent than the answer, got {classes[other]!r} for both")

    def value(rows):
        log_p = np.log(model.read(*_repeated(inputs, len(rows)))[0].astype(np.float64))  # (n, C)
        return log_p[:, chosen] - log_p[:, other]

    def losses(rows):
        tags = np.repeat(best[None], len(rows), axis=0)  # (n, T): their part in both losses is the same
        return [Loss(_arguments(model, inputs, tags, c), sign) for c, sign in ((chosen, -1), (other, 1))]

    result = attributed(model, Place.of("recurrent", time_first=True), np.zeros_like, 1, value, losses)
    answer, foil = classes[chosen], classes[other]
    named = {"name": "intent", "answer": answer, "foil": foil, "measure": log_odds(answer, foil)}
    return Decision.of(result, 0, **named, choices=most_probable(p, classes.__getitem__))


def _repeated(inputs, rows: int) -> list:
    """What the model reads, so many times."""
    repeated = []
    for each in inputs:
        if isinstance(each, Spelling):
            each = each._replace(words=np.repeat(each.words, rows, axis=0))
        repeated.append(each if each is None or isinstance(each, Spelling) else np.repeat(each, rows, axis=0))
    return repeated


def _arguments(model, inputs, tags, number: int = 0) -> tuple:
    """Arguments of the model's ``forward``, for tags (n, T) and the class of that number."""
    ids, *more = _repeated(inputs, len(tags))
    classes = [np.full(len(tags), number)] if isinstance(model, IntentTagger) else []
    return ids, tags, *classes, *more


def _transitions(crf, best) -> tuple[np.ndarray, np.ndarray]:
    """What each tag at each word would score with the tag before it, and with that after it: (T, K) each."""
    A = crf.transitions.value.astype(np.float64)  # (K, K)
    before = np.concatenate([crf.start_transitions.value[None], A[best[:-1]]])  # (T, K)
    after = np.concatenate([A[:, best[1:]].T, crf.end_transitions.value[None]])  # (T, K)
    return before, after
