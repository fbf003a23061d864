"""Merges within the words of a text, which come as symbols: the loop of GPT-1's BPE."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit
from minilm.tokenizers.bpe.merging import SHORT, make_scratch, merge_long, merge_short, work_size

BLANK = -1  # between words


@jit(counted=False)
def _merge_words(symbols, merges, scratch, work, out):
    count = begin = 0
    while begin < symbols.size:
        end = begin
        while end < symbols.size and symbols[end] != BLANK:
            end += 1
        n = end - begin
        if n > SHORT:
            for k in range(n):
                work[k] = symbols[begin + k]
            n = merge_long(work, n, merges)
            for k in range(n):
                out[count + k] = work[k]
        elif n > 0:
            n = merge_short(symbols, begin, n, merges, scratch, out, count)
        count += n
        begin = end + 1
    return count


def merge_words(symbols: np.ndarray, merges) -> np.ndarray:
    """Merge the symbols of every word on its own.

    Parameters
    ----------
    symbols : (N,) int32
        Ids of characters, with BLANK between words.
    merges : Merges

    Returns
    -------
    ids : (T,) int32
    """
    blanks = np.flatnonzero(symbols == BLANK)  # (W - 1,)
    longest = int(np.diff(blanks, prepend=-1, append=symbols.size).max()) - 1
    work = np.empty(work_size(longest) if longest > SHORT else 0, np.int64)
    out = np.empty(symbols.size, np.int32)
    count = _merge_words(symbols, merges, make_scratch(), work, out)
    return out[:count].copy()
