"""Exact match and F1 of answers in words, as SQuAD's official script counts them.

Both compare normalised answers: lower case, without ASCII punctuation, without the articles a, an and the, and with single
spaces. With several right answers to a question the best of them counts.

References
----------
P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, SQuAD: 100,000+ questions for machine comprehension of text, EMNLP 2016, and its
evaluate-v1.1.py; P. Rajpurkar, R. Jia, P. Liang, Know what you don't know: unanswerable questions for SQuAD, ACL 2018, whose
script says what an empty answer is worth.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["exact_match", "f1", "normalise", "scores"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalise(answer: str) -> str:
    """An answer as it is compared.

    >>> normalise("The  U.S. Army's")
    'us armys'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: str | Sequence[str]) -> float:
    """1 if the prediction is one of the answers, else 0."""
    return float(any(normalise(prediction) == normalise(each) for each in _several(answers)))


def f1(prediction: str, answers: str | Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words, of the best of the answers.

    .. math:: F_1 = \\frac{2 P R}{P + R}, \\quad P = \\frac{shared}{predicted}, \\quad R = \\frac{shared}{expected}

    A word that occurs twice in both counts twice. An answer of no words (such as "the") is right only where there is no answer.

    Parameters
    ----------
    prediction : str
    answers : str, or sequence of str
        One right answer, or all of them; an empty text where the question has no answer.

    Returns
    -------
    float
        In [0, 1].
    """
    return max(_f1(normalise(prediction).split(), normalise(each).split()) for each in _several(answers))


def _f1(prediction: list[str], answer: list[str]) -> float:
    if not prediction or not answer:
        return float(prediction == answer)
    common = sum((Counter(prediction) & Counter(answer)).values())
    return 2 * common / (len(prediction) + len(answer))  # 2 P R / (P + R), with both fractions cleared


def scores(predictions: Sequence[str], answers: Sequence) -> dict[str, float]:
    """Means over questions.

    Parameters
    ----------
    predictions : sequence of N str
    answers : sequence of N, each a str or a sequence of str

    Returns
    -------
    dict
        "exact_match" and "f1", each in [0, 1].

    Raises
    ------
    ValueError
        There are no questions, or not as many answers as questions.
    """
    if len(predictions) != len(answers):
        raise ValueError(f"predictions and answers must be of one length, got {len(predictions)} and {len(answers)}")
    if not len(predictions):
        raise ValueError("predictions must hold at least one answer, got none")
    pairs = list(zip(predictions, answers, strict=True))
    return {
        "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
        "f1": sum(f1(*pair) for pair in pairs) / len(pairs),
    }


def _several(answers) -> Sequence[str]:
    answers = [answers] if isinstance(answers, str) else answers
    if not len(answers):
        raise ValueError("answers must hold at least one answer, got none (an empty text says that there is no answer)")
    return answers
