"""Sampling in plain NumPy, by sorting."""

from __future__ import annotations

import numpy as np

from minilm.ops import philox
from minilm.ops.sampling.spec import ROUNDING, Drawn


def forward(logits, key, temperature=1.0, top_k=None, top_p=None):
    B, V = logits.shape
    u = philox.uniform(key, B, np.float64)  # (B,)
    ids, probability = np.full(B, -1, np.int64), np.full(B, np.nan, logits.dtype)  # (B,) each
    for b in range(B):
        row = logits[b].astype(np.float64)  # (V,)
        if not np.isfinite(row.max()):
            continue
        if temperature == 0:
            ids[b], probability[b] = row.argmax(), 1
            continue
        with np.errstate(over="ignore"):
            x = (row - row.max()) / temperature  # (V,)
        e = np.exp(x)  # (V,)
        order = np.argsort(-x, kind="stable")  # (V,) the largest first, of equal ones the first
        if top_k is not None:
            e[order[top_k:]] = 0
        if top_p is not None and top_p < 1:
            sums = np.cumsum(e[order])  # (V,)
            nucleus = 1 + np.count_nonzero(sums <= top_p * sums[-1] * (1 - ROUNDING))
            e[order[nucleus:]] = 0
        sums = np.cumsum(e)  # (V,)
        ids[b] = np.argmax(sums > u[b] * sums[-1])
        probability[b] = e[ids[b]] / sums[-1]
    return Drawn(ids, probability)
