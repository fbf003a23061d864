"""Why a model wrote each word: what each word of the source did for it, and where its attention was.

For token t of the target, F = log p(y_t | y_<t, source), and with a foil log p(y_t | ...) - log p(y'_t | ...) at the first place
where the other target differs. The tokens written before are given as they are: their part, and that of a source of zeros, is the
baseline F(x0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minilm.interpret.surprisal import log_probabilities
from minilm.interpret.tasks.decisions import Decision, Decisions, Loss, Place, attributed, check_device
from minilm.layers.summary import in_a_line
from minilm.models import PointerGenerator, Seq2Seq, Transformer

__all__ = ["explain_target"]

TOP = 8  # tokens that are named for each place
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
    spell: object,
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
    places, targets, foils = _questions(target, foil)
    inputs = np.concatenate([[begin], target[:-1]])  # (T,)

    def repeated(rows):
        return np.repeat(source[None], len(rows), axis=0), np.repeat(inputs[None], len(rows), axis=0)

    def value(rows):
        logits = model.logits(*repeated(rows))  # (n, T, V)
        log_p = log_probabilities(logits[np.arange(len(rows)), places[rows]])  # (n, V)
        F = log_p[np.arange(len(rows)), targets[rows]]
        return F if foils is None else F - log_p[np.arange(len(rows)), foils[rows]]

    def losses(rows):
        terms = []
        for chosen, sign in ((targets, -1), (foils, 1)):
            if chosen is not None:
                labels = np.full((len(rows), len(inputs)), -100)  # (n, T): one of each row counts
                labels[np.arange(len(rows)), places[rows]] = chosen[rows]
                sources, before = repeated(rows)
                terms.append(Loss((sources, before, labels), sign))
        return terms

    result = attributed(model, *_place(model, source), len(places), value, losses)
    log_p = log_probabilities(model.logits(source[None], inputs[None])[0])  # (T, V)
    values = result.values[:, ::-1] if isinstance(model, Seq2Seq) and model.config.reverse else result.values
    decisions = []
    for n, t in enumerate(places):
        best = np.argsort(-log_p[t], kind="stable")[:TOP]
        chosen, other = spell(int(targets[n])), None if foils is None else spell(int(foils[n]))
        measure = f"log p({chosen})" + ("" if other is None else f" − log p({other})")
        choices = [(spell(int(i)), float(np.exp(log_p[t, i]))) for i in best]
        decisions.append(
            Decision.of(
                result, n, name=f"piece {t + 1}", answer=chosen, foil=other, measure=measure, choices=choices, values=values[n]
            )
        )
    shown = in_a_line(model)
    maps = {name: weights[places] for name, weights in _attention(model, source, inputs).items()}
    return Decisions(text, answer, shown, list(source_pieces), decisions, maps, about=ABOUT)


def _questions(target, foil):
    """Places (N,), the tokens there, and those of the foil, or None."""
    if foil is None:
        return np.arange(len(target)), target, None
    shared = min(len(target), len(foil))
    differ = np.flatnonzero(target[:shared] != np.asarray(foil)[:shared])
    if not differ.size:
        raise ValueError("the foil must be another target than the answer, got the same or the beginning of it")
    return differ[:1], target[differ[:1]], np.asarray(foil)[differ[:1]]


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
