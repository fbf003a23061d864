"""ROUGE-1, ROUGE-2 and ROUGE-L: how much of a reference a summary covers.

::

    overlap_n  = sum over n-grams g of min(count of g in prediction, count of g in reference)
    P = overlap_n / n-grams of prediction       R = overlap_n / n-grams of reference       F = 2 P R / (P + R)
    ROUGE-L    the same with the longest common subsequence of words in place of the overlap

Words are runs of letters and digits, in lower case, without stemming. Of several examples it is the mean of F, in [0, 1].

Reference: C.-Y. Lin, ROUGE: a package for automatic evaluation of summaries, 2004.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from minilm.tokenizers.word_level import punctuation

__all__ = ["Score", "rouge", "rouge_l", "rouge_n", "words"]

_WORD = re.compile(rf"[^\W_][^\s_{punctuation()}]*")  # with its combining marks


class Score(NamedTuple):
    """Precision, recall, and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def words(text: str) -> list[str]:
    """Runs of letters and digits, in lower case."""
    return _WORD.findall(text.lower())


def rouge_n(prediction: str, reference: str, n: int = 1) -> Score:
    """ROUGE-n of a summary, the `prediction`, and its reference: over runs of `n` words."""
    counts = [Counter(zip(*(part[i:] for i in range(n)), strict=False)) for part in (words(prediction), words(reference))]
    return _score(sum((counts[0] & counts[1]).values()), *(sum(count.values()) for count in counts))


def rouge_l(prediction: str, reference: str) -> Score:
    """ROUGE-L of a summary, the `prediction`, and its reference: over the longest common subsequence of their words."""
    a, b = words(prediction), words(reference)
    lengths = [0] * (len(b) + 1)  # of the longest common subsequence of a so far and the first j words of b
    for word in a:
        before = 0  # lengths[j - 1] of the row above
        for j, other in enumerate(b, 1):
            above = lengths[j]
            lengths[j] = before + 1 if word == other else max(above, lengths[j - 1])
            before = above
    return _score(lengths[-1], len(a), len(b))


def rouge(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> dict[str, float]:
    """The mean F of ROUGE-1, ROUGE-2 and ROUGE-L over all examples.

    Parameters
    ----------
    predictions : sequence of str
        The summaries, one for each example.
    references : sequence of str, or of sequences of str
        One or several for each example; of several, each measure takes the one with the highest F.

    Returns
    -------
    dict of str to float
        Each F in [0, 1].

    Raises
    ------
    ValueError
        If their numbers differ, or are 0.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"predictions and references must be as many, and at least one, got {len(predictions)} and {len(references)}"
        )
    several = [[each] if isinstance(each, str) else each for each in references]
    pairs = list(zip(predictions, several, strict=True))
    scores = {
        "rouge_1": [max(rouge_n(a, b, 1).f1 for b in each) for a, each in pairs],
        "rouge_2": [max(rouge_n(a, b, 2).f1 for b in each) for a, each in pairs],
        "rouge_l": [max(rouge_l(a, b).f1 for b in each) for a, each in pairs],
    }
    return {name: sum(each) / len(each) for name, each in scores.items()}


def _score(overlap: int, predicted: int, expected: int) -> Score:
    precision, recall = overlap / predicted if predicted else 0.0, overlap / expected if expected else 0.0
    return Score(precision, recall, 2 * precision * recall / (precision + recall) if overlap else 0.0)
