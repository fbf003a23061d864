"""Sequences of unequal length in one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minilm.typing import DType

ENDS = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Sequence],
    maxlen: int | None = None,
    dtype: DType = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float | str = 0.0,
) -> np.ndarray:
    """Put sequences of unequal length into one array, with the semantics of Keras 2.

    Parameters
    ----------
    sequences : sequence of N sequences
        Each of shape (T_i, ...); the axes after the first are equal for all.
    maxlen : int, optional
        Length T of every row; the longest sequence's if None.
    dtype : dtype
        Of the result; object for strings of unequal length.
    padding : {"pre", "post"}
        Where shorter sequences are filled with `value`: before them or after.
    truncating : {"pre", "post"}
        Where longer ones lose elements: at their beginning or end.
    value : scalar or str
        The filling.

    Returns
    -------
    padded : ndarray, shape (N, T, ...)

    Raises
    ------
    ValueError
        `sequences` holds something that has no length, or shapes that differ after the first axis; no sequences and no `maxlen`;
        an unknown `padding` or `truncating`; a str as `value` for a dtype that cannot hold it.

    Examples
    --------
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    array([[0, 1],
           [2, 3],
           [5, 6]], dtype=int32)
    """
    for name, end in (("padding", padding), ("truncating", truncating)):
        if end not in ENDS:
            raise ValueError(f"{name} must be 'pre' or 'post', got {end!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"sequences must be a list of sequences, got {type(sequences).__name__}")
    for row, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__") or not hasattr(sequence, "__getitem__"):
            raise ValueError(f"sequences must hold sequences, got {sequence!r} ({type(sequence).__name__}) at position {row}")
    dtype = np.dtype(dtype)
    if isinstance(value, str) and dtype.kind not in "OU":
        raise ValueError(f"value must suit dtype {dtype}, got the str {value!r}; dtype=object holds strings of any length")
    if maxlen is None:
        if not len(sequences):
            raise ValueError("sequences must hold at least one sequence if maxlen is None, got none")
        maxlen = max(map(len, sequences))
    if maxlen < 0:
        raise ValueError(f"maxlen must be at least 0, got {maxlen!r}")
    first = next((sequence for sequence in sequences if len(sequence)), [])
    shape = np.asarray(first).shape[1:]
    padded = np.full((len(sequences), maxlen, *shape), value, dtype)  # (N, T, ...)
    for row, sequence in enumerate(sequences):
        if not len(sequence):
            continue
        # Not sequence[-maxlen:], which for maxlen = 0 is the whole sequence.
        kept = sequence[max(len(sequence) - maxlen, 0) :] if truncating == "pre" else sequence[:maxlen]
        kept = np.asarray(kept, dtype)  # (min(T_i, T), ...)
        if not len(kept):
            continue
        if kept.shape[1:] != shape:
            raise ValueError(f"sequences must agree after axis 0: expected {shape}, got {kept.shape[1:]} at position {row}")
        if padding == "pre":
            padded[row, maxlen - len(kept) :] = kept
        else:
            padded[row, : len(kept)] = kept
    return padded
