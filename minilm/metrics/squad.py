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


def exact_match(given: str, wanted: str | Sequence[str]) -> float:
    """1 if the answer given is one of those wanted, else 0."""
    return float(any(normalise(given) == normalise(each) for each in _several(wanted)))


def f1(given: str, wanted: str | Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words, of the best of the answers wanted.

    .. math:: F_1 = \\frac{2 P R}{P + R}, \\qquad P = \\frac{common}{words\\ given}, \\quad R = \\frac{common}{words\\ wanted}

    A word that stands twice in both counts twice. An answer of no words (such as "the") is right only where none is wanted.

    Parameters
    ----------
    given : str
    wanted : str, or sequence of str
        One right answer, or all of them; an empty text where the question has no answer.

    Returns
    -------
    float
        In [0, 1].
    """
    return max(_f1(normalise(given).split(), normalise(each).split()) for each in _several(wanted))


def _f1(given: list[str], wanted: list[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))  # 2 P R / (P + R), with both fractions cleared


def scores(given: Sequence[str], wanted: Sequence) -> dict[str, float]:
    """Means over questions.

    Parameters
    ----------
    given : sequence of N str
    wanted : sequence of N, each a str or a sequence of str

    Returns
    -------
    dict
        "exact_match" and "f1", each in [0, 1].

    Raises
    ------
    ValueError
        There are no questions, or not as many answers as questions.
    """
    if len(given) != len(wanted):
        raise ValueError(f"given and wanted must be of one length, got {len(given)} and {len(wanted)}")
    if not len(given):
        raise ValueError("given must hold at least one answer, got none")
    pairs = list(zip(given, wanted, strict=True))
    return {
        "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
        "f1": sum(f1(*pair) for pair in pairs) / len(pairs),
    }


def _several(wanted) -> Sequence[str]:
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not len(wanted):
        raise ValueError("wanted must hold at least one answer, got none (an empty text says that there is no answer)")
    return wanted
