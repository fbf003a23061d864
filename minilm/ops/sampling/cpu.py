"""Sampling on the CPU: exponentials by NumPy, which vectorises them, and the rest row by row; nothing is sorted."""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import philox
from minilm.ops.sampling.spec import BINS, ROUNDING, Drawn
from minilm.ops.workspace import empty, scratch


@jit
def _cut(x, e, counting, target, bins):
    """Set e to 0 but for the largest x: as few as have a weight of more than `target` together, 1 each or e."""
    smallest, largest = 0.0, 0.0  # of the interval that holds the least x to be kept
    for v in range(len(x)):
        if e[v] > 0:
            smallest = min(smallest, x[v])
    above = 0.0  # the weight above the interval
    while smallest < largest:
        width = largest - smallest
        bins[:] = 0
        for v in range(len(x)):
            if e[v] > 0 and smallest <= x[v] <= largest:
                bins[int((largest - x[v]) / width * (BINS - 1))] += 1.0 if counting else e[v]
        chosen = 0
        while chosen < BINS - 1 and above + bins[chosen] <= target:
            above += bins[chosen]
            chosen += 1
        low, high = largest, smallest
        for v in range(len(x)):
            if e[v] > 0 and smallest <= x[v] <= largest and int((largest - x[v]) / width * (BINS - 1)) == chosen:
                low, high = min(low, x[v]), max(high, x[v])
        smallest, largest = low, high
    before = 0  # of those that equal the least x
    for v in range(len(x)):
        if x[v] == largest and e[v] > 0:
            weight = 1.0 if counting else e[v]
            if above + before * weight > target:
                e[v] = 0
            before += 1
        elif x[v] < largest:
            e[v] = 0


@jit
def _rows(start, stop, x, e, peak, u, top_k, top_p, ids, probability):
    # x, e (B, V); peak, u (B,) -> ids, probability (B,)
    bins = np.empty(BINS)
    for b in range(start, stop):
        row = e[b]
        if not math.isfinite(peak[b]):
            ids[b], probability[b] = -1, np.nan
            continue
        if top_k < len(row):
            _cut(x[b], row, True, top_k - 0.5, bins)
        if top_p < 1:
            total = 0.0
            for v in range(len(row)):
                total += row[v]
            _cut(x[b], row, False, top_p * total * (1 - ROUNDING), bins)
        total = 0.0
        for v in range(len(row)):
            total += row[v]
        target, sum_ = u[b] * total, 0.0
        for v in range(len(row)):
            sum_ += row[v]
            if sum_ > target:  # at the last of them at the latest: u is less than 1, after rounding too
                ids[b], probability[b] = v, row[v] / total
                break


def forward(logits, key, temperature=1.0, top_k=None, top_p=None):
    B, V = logits.shape
    ids, probability = empty((B,), np.int64), empty((B,), logits.dtype)  # (B,) each
    if temperature == 0:
        best = logits.argmax(axis=1)  # (B,) a NaN counts as the largest
        fine = np.isfinite(logits[np.arange(B), best])  # (B,)
        ids[...] = np.where(fine, best, -1)
        probability[...] = np.where(fine, 1, np.nan)
        return Drawn(ids, probability)
    peak = logits.max(axis=1)  # (B,) NaN where the row has one
    u = philox.uniform(key, B, np.float64)  # (B,)
    with scratch(), np.errstate(invalid="ignore", over="ignore"):
        x, e = empty((B, V), np.float64), empty((B, V), np.float64)  # (B, V) each
        np.subtract(logits, peak[:, None], out=x, dtype=np.float64)
        np.divide(x, temperature, out=x)
        np.exp(x, out=e)
        limits = V if top_k is None else min(top_k, V), 1.0 if top_p is None else top_p
        grain = max(1, 2**16 // V)
        devices.parallel(_rows, B, x, e, peak.astype(np.float64), u, *limits, ids, probability, grain=grain)
    return Drawn(ids, probability)
