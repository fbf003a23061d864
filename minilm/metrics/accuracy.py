"""The part of the examples that were labelled rightly."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["accuracy", "commonest"]


def accuracy(wanted: Sequence, given: Sequence) -> float:
    """Accuracy: how many of the labels given are those wanted, of 1.

    .. math:: accuracy = \\frac{1}{N} \\sum_n [given_n = wanted_n]

    Parameters
    ----------
    wanted, given : sequences of N labels

    Returns
    -------
    float

    Raises
    ------
    ValueError
        There are no labels, or not as many of the one as of the other.
    """
    if len(wanted) != len(given):
        raise ValueError(f"wanted and given must be of one length, got {len(wanted)} and {len(given)}")
    if not len(wanted):
        raise ValueError("wanted must hold at least one label, got none")
    return sum(bool(a == b) for a, b in zip(wanted, given, strict=True)) / len(wanted)


def commonest(labels: Sequence) -> float:
    """The accuracy of always giving the commonest of the labels: what a model must beat.

    Raises
    ------
    ValueError
        There are no labels.
    """
    from collections import Counter

    if not len(labels):
        raise ValueError("labels must hold at least one label, got none")
    return Counter(labels).most_common(1)[0][1] / len(labels)
