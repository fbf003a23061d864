"""Why a word got its tag: from the words, and from the tags beside it.

A conditional random field scores whole sequences y of tags, with emissions e (T, K) and transitions A (K, K)::

    s(y) = start[y_1] + sum_t e_t[y_t] + sum_t A[y_t, y_t+1] + end[y_T]

That y_t and not the foil y' stands at t, the other tags as they are, is decided by the difference, in which log Z cancels::

    F = s(y) - s(.. y_t-1 y' y_t+1 ..)
      = e_t[y_t] - e_t[y']                                    emission: the words
      + A[y_t-1, y_t] - A[y_t-1, y']                          transition from the tag before, or the start
      + A[y_t, y_t+1] - A[y', y_t+1]                          transition to the tag after, or the end

The transitions do not depend on the words, so that what integrated gradients share out among these is the change of the emission.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.interpret.tasks.decisions import Decision, Decisions, Loss, Place, attributed, check_device
from minilm.models import Tagger
from minilm.models.tagger import Spelling
from minilm.ops import checks

__all__ = ["explain_tags"]

ABOUT = (
    "By how much each word's tag was preferred to another, the tags beside it as they are: a share from the words (emission), "
    "and shares from the tags before and after (transitions). The colours share the words' part out among them."
)


def explain_tags(
    model: Tagger,
    ids: np.ndarray,
    spelling: Spelling | None,
    pieces: Sequence[str],
    tags: Sequence[str],
    *,
    best: np.ndarray,
    text: str = "",
    answer: str = "",
    foil: int | None = None,
) -> Decisions:
    """Explain the tags of one sentence.

    Parameters
    ----------
    model : Tagger
    ids : ndarray of integers, shape (T,)
    spelling : Spelling, or None
        Of one row.
    pieces, tags : list of str
        The T words; the names of the K tags.
    best : ndarray of integers, shape (T,)
        The tags that were given: what `Tagger.decode` returns.
    text, answer : str
    foil : int, optional
        Why not this tag; without it, at each word, the one that comes nearest. A word that has it is compared with the nearest.
    """
    check_device(model)
    ids, best = np.asarray(ids), np.asarray(best)
    T, K = len(ids), len(tags)
    if K < 2:
        raise ValueError("a model with one tag decides nothing")
    if foil is not None:
        checks.whole("foil", foil, 0, K)

    def inputs(rows):
        words = None if spelling is None else spelling._replace(words=np.repeat(spelling.words, len(rows), axis=0))
        return np.repeat(ids[None], len(rows), axis=0), words

    emissions = model.emissions(ids[None], None, spelling)[0].astype(np.float64)  # (T, K)
    shares = np.stack([emissions, *_transitions(model.crf, best)], axis=-1)  # (T, K, 3)
    differences = shares[np.arange(T), best][:, None] - shares  # (T, K, 3)
    nearest = differences.sum(axis=2)  # (T, K)
    nearest[np.arange(T), best] = np.inf
    foils = nearest.argmin(axis=1) if foil is None else np.where(best == foil, nearest.argmin(axis=1), foil)  # (T,)
    shares = differences[np.arange(T), foils]  # (T, 3)

    def value(rows):
        words, spelled = inputs(rows)
        e = model.emissions(words, None, spelled)[np.arange(len(rows)), rows].astype(np.float64)  # (n, K)
        n = np.arange(len(rows))
        return e[n, best[rows]] - e[n, foils[rows]] + shares[rows, 1:].sum(axis=1)

    def losses(rows):  # -log p(y) = log Z - s(y)
        words, spelled = inputs(rows)
        chosen = np.repeat(best[None], len(rows), axis=0)  # (n, T)
        other = chosen.copy()
        other[np.arange(len(rows)), rows] = foils[rows]
        return [Loss((words, chosen, None, spelled), -1), Loss((words, other, None, spelled), 1)]

    result = attributed(model, Place.of("recurrent", time_first=True), np.zeros_like, T, value, losses)
    marginals = np.asarray(model.crf.marginals(emissions[None].astype(model.dtype)))[0]  # (T, K)
    decisions = []
    for t in range(T):
        names = ["emission: the words", f"tag before: {tags[best[t - 1]]}" if t else "start"]
        names.append(f"tag after: {tags[best[t + 1]]}" if t + 1 < T else "end")
        choices = [(tags[k], float(marginals[t, k])) for k in np.argsort(-marginals[t], kind="stable")[:8]]
        chosen, other = tags[best[t]], tags[foils[t]]
        output, baseline, error, steps = (float(each[t]) for each in result[1:])
        parts = list(zip(names, map(float, shares[t]), strict=True))
        measure = f"score({chosen}) − score({other})"
        decisions.append(
            Decision(pieces[t], chosen, other, measure, output, baseline, result.values[t], error, int(steps), choices, parts)
        )
    labels = [f"{piece}/{tags[tag]}" for piece, tag in zip(pieces, best, strict=True)]
    shown = f"Tagger({model.settings()}), {model.parameters.count:,} parameters"
    return Decisions(text, answer, shown, list(pieces), decisions, labels=labels, about=ABOUT)


def _transitions(crf, best) -> tuple[np.ndarray, np.ndarray]:
    """What each tag at each word would score with the tag before it, and with that after it: (T, K) each."""
    A = crf.transitions.value.astype(np.float64)  # (K, K)
    before = np.concatenate([crf.start_transitions.value[None], A[best[:-1]]])  # (T, K)
    after = np.concatenate([A[:, best[1:]].T, crf.end_transitions.value[None]])  # (T, K)
    return before, after
