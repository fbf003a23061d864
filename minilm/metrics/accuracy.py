"""The share of examples that are labelled correctly."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["accuracy", "commonest"]


def accuracy(labels: Sequence, predictions: Sequence) -> float:
    """Accuracy: the share of labels that are predicted right, in [0, 1].

    .. math:: accuracy = \\frac{1}{N} \\sum_n [prediction_n = label_n]

    Parameters
    ----------
    labels, predictions : sequences of N labels

    Returns
    -------
    float

    Raises
    ------
    ValueError
        There are no labels, or not as many of the one as of the other.
    """
    if len(labels) != len(predictions):
        raise ValueError(f"labels and predictions must be of one length, got {len(labels)} and {len(predictions)}")
    if not len(labels):
        raise ValueError("labels must hold at least one label, got none")
    return sum(bool(a == b) for a, b in zip(labels, predictions, strict=True)) / len(labels)


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
