"""Why this word is nearest: what each word of a sum did for it.

The answer to ``king - man + woman`` is the word d whose vector's cosine with the sum is largest, and the cosine is a sum itself,
with v the vectors divided by their lengths and s_i = ±1::

    q = sum_i s_i v_i                cos(q, d) = sum_i s_i v_i · d / |q|
    F = cos(q, answer) - cos(q, foil)
"""

from __future__ import annotations

import numpy as np

from minilm.interpret.tasks.decisions import Decision, Decisions
from minilm.models import WordVectors
from minilm.models.word_vectors import terms_of

__all__ = ["explain_words"]

MOST = 8  # words that are named
ABOUT = "What each word of the sum did for the nearest word, in cosines: blue brought it nearer, red took it away."


def explain_words(vectors: WordVectors, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
    """Explain the word nearest to another one, or to a sum and difference of words.

    Parameters
    ----------
    vectors : WordVectors
    text : str
        Such as ``king - man + woman``; see `WordVectors.calculate`.
    answer, foil : str, optional
        The nearest word without them, and no other.

    Raises
    ------
    ValueError
        If `foil` is the word that is explained.
    """
    near = vectors.calculate(text, most=max(MOST, 2))
    answer = near[0][0] if answer is None else answer
    if answer == foil:
        raise ValueError(f"the foil must be another word than the answer, got {foil!r} for both")
    terms = terms_of(text)
    signed = np.array([sign * vectors.unit[vectors.id(word)] for sign, word in terms], np.float64)  # (S, D)
    direction = vectors.unit[vectors.id(answer)].astype(np.float64)  # (D,)
    if foil is not None:
        direction = direction - vectors.unit[vectors.id(foil)]
    values = signed @ direction / max(float(np.linalg.norm(signed.sum(axis=0))), 1e-30)  # (S,)
    measure = f"cos(sum, {answer})" + ("" if foil is None else f" − cos(sum, {foil})")
    choices = [(word, max(0.0, cosine)) for word, cosine in near]
    decision = Decision("nearest", answer, foil, measure, float(values.sum()), float("nan"), values, 0.0, 0, choices, [])
    pieces = [word if sign > 0 else f"− {word}" for sign, word in terms]
    pairs = signed @ signed.T * np.outer(*[[sign for sign, _ in terms]] * 2)  # (S, S), of the words as they are
    shown = f"{len(vectors):,} words, vectors of {vectors.vectors.shape[1]}"
    return Decisions(text, answer, shown, pieces, [decision], {"cosines between the words": pairs}, pieces, about=ABOUT)
