"""Sequences of indices as the rows of a matrix, one column an index: what `Word.sequences_to_matrix` makes.

With c the occurrences of index j in a sequence of length T, n the texts seen, and d_j those that hold j, the element is ::

    binary    1 if c > 0
    count     c
    tfidf     (1 + log c) log(1 + n / (1 + d_j))  if c > 0
    freq      c / T
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

MODES = ("binary", "count", "tfidf", "freq")


def of_sequences(
    sequences: Sequence[Sequence[int]], columns: int, mode: str, document_count: int, index_docs: Mapping[int, int]
) -> np.ndarray:
    """The matrix of N sequences.

    Parameters
    ----------
    sequences : sequence of N sequences of int
        Indices from `columns` on are left out.
    columns : int
    mode : {"binary", "count", "tfidf", "freq"}
    document_count : int
        n, for "tfidf".
    index_docs : mapping of int to int
        d_j; 0 for an index that is not there.

    Returns
    -------
    matrix : ndarray, shape (N, columns), float64

    Raises
    ------
    ValueError
        Unknown mode, "tfidf" before a text was seen, or a negative index.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if mode == "tfidf" and not document_count:
        raise ValueError("mode 'tfidf' needs fit_on_texts or fit_on_sequences first")
    matrix = np.zeros((len(sequences), columns))  # (N, columns)
    for row, sequence in enumerate(sequences):
        for index, count in Counter(sequence).items():
            if index < 0:
                raise ValueError(f"sequences must hold indices of at least 0, got {index} in sequence {row}")
            if index >= columns:
                continue
            if mode == "binary":
                matrix[row, index] = 1
            elif mode == "count":
                matrix[row, index] = count
            elif mode == "freq":
                matrix[row, index] = count / len(sequence)
            else:
                matrix[row, index] = (1 + np.log(count)) * np.log(1 + document_count / (1 + index_docs.get(index, 0)))
    return matrix
