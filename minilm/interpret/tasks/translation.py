"""Why a model wrote each word: what each word of the source did for it, and where its attention was.

For token t of the target, F = log p(y_t | y_<t, source), and with a foil log p(y_t | ...) - log p(y'_t | ...) at the first place
where the other target differs. The tokens written before are given as they are: their part, and that of a source of zeros, is the
baseline F(x0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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
from minilm.models import PointerGenerator, Seq2Seq, Transformer

__all__ = ["explain_target"]

ABOUT = (
    "What each piece of the source did for the chosen piece of the target, given those before it: blue made it more probable, "
    "red less. What the baseline holds, the words before it said already."
)


def explain_target(
    model: Seq2Seq | Transformer,
    source: np.ndarray,
    target: np.ndarray,
    *,
    begin: int,
    source_pieces: Sequence[str],
    spell: Callable[[int], str],
    text: str = "",
    answer: str = "",
    foil: np.ndarray | None = None,
) -> Decisions:
    """Explain what an encoder-decoder wrote.

    Parameters
    ----------
    model : Seq2Seq, PointerGenerator or Transformer
    source, target : ndarray of integers, shapes (S,) and (T,)
        The target with the token that ends it.
    begin : int
        The token that begins a target.
    source_pieces : list of str
        S.
    spell : callable
        ``id -> str`` of the target's tokens.
    text, answer : str
        Source and target as they are to be shown.
    foil : ndarray of integers, shape (T',), optional
        Another target: why it was not written.
    """
    check_device(model)
    source, target = np.asarray(source), np.asarray(target)
    predictions = _predictions(target, foil)
    inputs = np.concatenate([[begin], target[:-1]])  # (T,)

    def repeated(rows):
        return np.repeat(source[None], len(rows), axis=0), np.repeat(inputs[None], len(rows), axis=0)

    def value(rows):
        return predictions.value(model.logits(*repeated(rows)), rows)  # (n,)

    def losses(rows):
        return [Loss((*repeated(rows), targets), factor) for targets, factor in predictions.targets(rows, len(inputs))]

    places, answers, foils = predictions
    result = attributed(model, *_place(model, source), len(places), value, losses)
    log_p = log_probabilities(model.logits(source[None], inputs[None])[0])  # (T, V)
    values = result.values[:, ::-1] if isinstance(model, Seq2Seq) and model.config.reverse else result.values
    decisions = []
    for n, t in enumerate(places):
        chosen, other = spell(int(answers[n])), None if foils is None else spell(int(foils[n]))
        named = {"name": f"piece {t + 1}", "answer": chosen, "foil": other, "measure": log_odds(chosen, other)}
        choices = most_probable(np.exp(log_p[t]), spell)
        decisions.append(Decision.of(result, n, **named, choices=choices, values=values[n]))
    maps = {name: weights[places] for name, weights in _attention(model, source, inputs).items()}
    return Decisions(text, answer, in_a_line(model), list(source_pieces), decisions, maps, about=ABOUT)


def _predictions(target, foil) -> Predictions:
    """Of every token of the target; with a foil, of the first that differs from the foil's."""
    if foil is None:
        return Predictions(np.arange(len(target)), target, None)
    shared = min(len(target), len(foil))
    differ = np.flatnonzero(target[:shared] != np.asarray(foil)[:shared])
    if not differ.size:
        raise ValueError("the foil must be another target than the answer, got the same or the beginning of it")
    return Predictions(differ[:1], target[differ[:1]], np.asarray(foil)[differ[:1]])


def _place(model, source):
    """Where the source's vectors enter, and x0: positions alone, or zeros."""
    if isinstance(model, Seq2Seq):
        return Place.of("encoder", time_first=True), np.zeros_like
    table, scale = model.source_embedding.weight.value, math.sqrt(model.config.d_model)
    return Place.of("encoder.0"), lambda x: x - scale * table[source]


def _attention(model, source, inputs) -> dict[str, np.ndarray]:
    """Name -> (T, S): the attention of an LSTM's or GRU's decoder, or of each head of a Transformer's last layer."""
    if isinstance(model, Seq2Seq):
        if model.config.attention is None:
            return {}
        name = "attention: where it copies from" if isinstance(model, PointerGenerator) else "attention"
        return {name: np.asarray(model.attention(source[None], inputs[None])[0])}
    heads = np.asarray(model.attention(source[None], inputs[None])[0])  # (H, T, S)
    each = {f"head {h + 1}": weights for h, weights in enumerate(heads)}
    return {"mean of the last layer's heads": heads.mean(axis=0), **each}
