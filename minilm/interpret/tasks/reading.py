"""Why a reader pointed at this part of a passage.

F = log p(start) + log p(end) of the span, and with a foil less that of the other span. What the two readers read::

    Reader                       for each word of the passage its vector p, the question as it sees it a, and whether it stands in
                                 the question (features); for each word of the question its vector q
    BERTForQuestionAnswering     the vectors of the pieces of question and passage

Integrated gradients go from zeros to all of these together. Of a `Reader` the shares of a word's own vector, of its match with
the question and of its features are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.interpret.path import Integral
from minilm.interpret.surprisal import log_probabilities
from minilm.interpret.tasks.decisions import Decision, Decisions, Loss, Place, attributed, check_device, most_probable
from minilm.layers.summary import in_a_line
from minilm.models import BERTForQuestionAnswering, Reader

__all__ = ["explain_span"]

ABOUT = "What each word of question and passage did for the span: blue made it more probable, red less."


def explain_span(
    model: Reader | BERTForQuestionAnswering,
    arrays: Sequence[np.ndarray],
    span: Sequence[int],
    pieces: Sequence[str],
    *,
    text: str = "",
    answer: str = "",
    foil: Sequence[int] | None = None,
    foil_text: str | None = None,
) -> Decisions:
    """Explain a span.

    Parameters
    ----------
    model : Reader or BERTForQuestionAnswering
    arrays : list of ndarray
        What the model's ``logits`` takes, with one row each: passage (1, T), question (1, Q) and features (1, T, F), or ids,
        token_type_ids and mask (1, T).
    span : (int, int)
        First and last place.
    pieces : list of str
        Of a `Reader` the question's Q words and then the passage's T, else the T tokens.
    text, answer : str
    foil : (int, int), optional
        Another span, and its text.
    foil_text : str, optional

    Raises
    ------
    ValueError
        If `foil` is the span that is explained.
    """
    check_device(model)
    spans = [np.asarray(span)] + ([] if foil is None else [np.asarray(foil)])
    if foil is not None and tuple(foil) == tuple(span):
        raise ValueError(f"the foil must be another part of the passage than the answer, got {foil_text!r} for both")
    is_reader = isinstance(model, Reader)

    def repeated(rows):
        return [np.repeat(each, len(rows), axis=0) for each in arrays]

    def value(rows):
        logits = model.logits(*repeated(rows))
        start, end = logits if is_reader else (logits[..., 0], logits[..., 1])  # (n, T) each
        start, end = log_probabilities(start), log_probabilities(end)
        F = [start[:, first] + end[:, last] for first, last in spans]  # (n,) each
        return F[0] if foil is None else F[0] - F[1]

    def losses(rows):  # a loss is -(log p(start) + log p(end)) / 2
        first, second, *rest = repeated(rows)
        terms = []
        for each, factor in zip(spans, (-2, 2), strict=False):
            both = np.repeat(each[None], len(rows), axis=0)  # (n, 2)
            terms.append(Loss((first, second, both, *rest) if is_reader else (first, both, second, *rest), factor))
        return terms

    place, x0 = _reader_place(model, arrays) if is_reader else _bert_place(model, arrays)
    result = attributed(model, place, x0, 1, value, losses)
    values, shares = _reader_values(result, arrays[0].shape[1]) if is_reader else (result.values[0], [])
    measure = "log p(span)" + ("" if foil is None else " − log p(other span)")
    logits = model.logits(*arrays)
    start, end = (np.asarray(each[0]) for each in (logits if is_reader else (logits[..., 0], logits[..., 1])))  # (T,) each
    choices = _choices(start, end, pieces[arrays[1].shape[1] :] if is_reader else pieces)
    decision = Decision.of(
        result, 0, name="span", answer=answer, foil=foil_text, measure=measure, choices=choices, shares=shares, values=values
    )
    return Decisions(text, answer, in_a_line(model), list(pieces), [decision], about=ABOUT)


def _reader_values(result: Integral, T: int) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """What each word of the question, and of the passage of T words, did, (Q + T,); and the shares of each kind of vectors."""
    own, match, feature, question = np.split(result.values[0], [T, 2 * T, 3 * T])  # (T,) three times, (Q,)
    names = ("words of the passage", "their match with the question", "whether they stand in it", "words of the question")
    shares = [(name, float(part.sum())) for name, part in zip(names, (own, match, feature, question), strict=True)]
    shares += [("without any of these", float(result.baselines[0])), ("missing in the integral", -float(result.errors[0]))]
    return np.concatenate([question, own + match + feature]), shares


def _reader_place(model, arrays) -> tuple[Place, object]:
    """The inputs of both LSTMs: p, a and the features of the passage's words, and q, side by side as (n, 3T + Q, E)."""
    E, F, T = model.embed_dim, model.features, arrays[0].shape[1]
    width = max(E, F)

    def widened(part):
        return np.concatenate([part, np.zeros((*part.shape[:2], width - part.shape[2]), part.dtype)], axis=2)

    def pack(inputs):
        x, q = inputs  # (n, T, 2E + F), (n, Q, E)
        return np.concatenate([widened(part) for part in (x[..., :E], x[..., E : 2 * E], x[..., 2 * E :], q)], axis=1)

    def unpack(points):
        p, a, features, q = np.split(points, [T, 2 * T, 3 * T], axis=1)
        return [np.concatenate([p[..., :E], a[..., :E], features[..., :F]], axis=2), np.ascontiguousarray(q[..., :E])]

    return Place(("passage", "question"), pack, unpack), np.zeros_like


def _bert_place(model, arrays):
    table = model.bert.embeddings.word_embeddings.weight.value
    return Place.of("bert.embeddings.LayerNorm"), lambda x: x - table[arrays[0][0]]


def _choices(start, end, pieces) -> list[tuple[str, float]]:
    """The most probable first words, with p(start), and last words, with p(end)."""
    choices = []
    for name, logits in (("starts", start), ("ends", end)):
        p = np.exp(log_probabilities(logits))  # (T,)
        choices += [(f"{name} at {piece}", share) for piece, share in most_probable(p, pieces.__getitem__, 3)]
    return choices
