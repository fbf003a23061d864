"""Checks of what tokenizers are called with."""

from __future__ import annotations

import numpy as np


def several(texts) -> list:
    """The texts as a list; TypeError for a single str."""
    if isinstance(texts, str):
        raise TypeError("texts must be a list of str, got one str: use encode")
    return list(texts)


def check_text(text) -> None:
    """TypeError unless `text` is a str."""
    if not isinstance(text, str):
        hint = ": decode it first, bytes.decode('utf-8')" if isinstance(text, bytes | bytearray) else ""
        raise TypeError(f"text must be a str, got {type(text).__name__}{hint}")


def check_ids(ids, vocab_size: int) -> np.ndarray:
    """Check that ids are integers in 0 ... vocab_size - 1.

    Parameters
    ----------
    ids : array_like of int, shape (T,) or ()
    vocab_size : int

    Returns
    -------
    ids : ndarray, shape (T,), any integer dtype
        A scalar becomes an array of one.
    """
    try:
        array = np.asarray(ids)  # (T,) or ()
    except ValueError as error:  # nested lists of unequal lengths
        raise ValueError(f"ids must be one sequence of integers: {error}") from None
    if array.ndim > 1:
        raise ValueError(f"ids must have shape (T,) or (), got {array.shape}: decode_batch takes several sequences")
    if array.dtype.kind not in "iu":
        if array.size == 0:
            return np.empty(0, np.int32)  # (0,)
        # A Python int beyond 64 bits makes the array one of objects or floats: that is a wrong value, not a wrong type.
        values = [ids] if array.ndim == 0 else ids
        for position, value in enumerate(values):
            if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
                raise TypeError(f"ids must be integers, got {value!r} ({type(value).__name__}) at position {position}")
        array = np.array([int(value) for value in values], dtype=object)  # (T,)
    array = array.reshape(-1)  # (T,)
    wrong = (array < 0) | (array >= vocab_size)  # (T,)
    if wrong.any():
        position = int(np.argmax(wrong))
        raise ValueError(f"ids must be in 0 ... {vocab_size - 1}, got {int(array[position])} at position {position}")
    return array if array.dtype != object else array.astype(np.int64)
