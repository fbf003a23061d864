"""The largest number of a row, and the largest few: what a greedy search and a beam search choose."""

from __future__ import annotations

import numpy as np

from minilm.compiled.jit import jit

BLOCK = 64  # numbers that are compared at a time


@jit
def largest_of(row, first, last):
    """Place of the largest of row[first:last], the first of equals, or of the first NaN, as NumPy's argmax has it; -1 of none.

    A block of numbers is compared with the largest before it, in vectors; one by one only where some number of it is larger,
    which of 8,000 numbers in any order is the case some ten times.
    """
    best = first if first < last else -1
    for start in range(first, last, BLOCK):
        block, most, larger = row[start : min(start + BLOCK, last)], row[best], False
        for v in range(len(block)):
            larger |= not block[v] <= most  # larger, or one of the two is NaN
        if not larger:
            continue
        for v in range(start, start + len(block)):
            if row[best] != row[best]:
                return best
            if not row[v] <= row[best]:
                best = v
    return best


@jit
def largest_sums(start, stop, totals, parts, sums, places):
    # rows [start, stop) of totals (M, k), parts (M, k, V) -> the C largest of totals + parts, the largest first, of equal ones
    # the first: sums (M, C), all NaN where one of them is, and their places (M, C) among the k V. C is at most k V
    (_, k, V), C = parts.shape, sums.shape[1]
    for m in range(start, stop):
        best, at, count, broken = sums[m], places[m], 0, False
        for i in range(k):
            total, row = totals[m, i], parts[m, i]
            for v in range(V):
                number = total + row[v]
                if count == C and number <= best[C - 1]:
                    continue
                if number != number:
                    broken = True
                    continue
                c = count if count < C else C - 1
                count = min(count + 1, C)
                while c > 0 and best[c - 1] < number:
                    best[c], at[c] = best[c - 1], at[c - 1]
                    c -= 1
                best[c], at[c] = number, i * V + v
        if broken:
            best[:] = np.nan
