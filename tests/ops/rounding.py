"""Operands as tensor cores read them, and attention with its operands rounded so: what version 3 is held against."""

from __future__ import annotations

import numpy as np

from minilm.ops.attention import oracle
from tests.ops.properties import Result

UNIT = {"tf32": 2.0**-11, "bf16": 2.0**-8}  # the largest relative error of a rounding


def rounded(x, precision: str):
    """x in float32, rounded: to 10 bits, ties away from zero, for tf32; to 7 bits, ties to even, for bf16.

    By arithmetic on significands, not on bits as the kernels do it.
    """
    x = np.asarray(x).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        significand, exponent = np.frexp(x.astype(np.float64))  # 0.5 <= |significand| < 1
        # below 2**-126 float32 has fewer bits, at fixed places
        bits = np.minimum({"tf32": 11, "bf16": 8}[precision], {"tf32": 11, "bf16": 8}[precision] + exponent + 125)
        scaled = np.ldexp(significand, bits)
        near = np.rint(scaled) if precision == "bf16" else np.copysign(np.floor(abs(scaled) + 0.5), scaled)
        finite = np.ldexp(near, exponent - bits)
        return np.where(np.isfinite(x), finite, x).astype(np.float32)


def bits_of(x, precision: str):
    """Of rounded numbers, as unsigned integers."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return bits >> np.uint32(16) if precision == "bf16" else bits


def attention(arguments: dict, dy, precision: str, tile: int) -> tuple[Result, dict, dict]:
    """Forward and backward in float64 but for the roundings of operands; of each result the largest of the terms that are summed;
    and the same before dP and D cancel.

    `tile` is the number of keys after which forward's largest score is brought up to date: it is what weights are divided by
    before they are rounded.
    """

    def read(x):
        return rounded(x, precision).astype(np.float64)

    query, key, value = (oracle.heads(read(arguments[name])) for name in ("query", "key", "value"))  # (B, H, T, K)
    (B, H, Tq, K), (_, G, Tk, _) = query.shape, key.shape
    key, value = (np.repeat(x, H // G, axis=1) for x in (key, value))  # (B, H, Tk, K)
    scale, softcap = arguments.get("scale") or 1 / np.sqrt(K), arguments.get("softcap")
    see = oracle.visible(Tq, Tk, arguments.get("causal", False), arguments.get("band"), arguments.get("key_mask"))
    S = scale * query @ key.swapaxes(2, 3)  # (B, H, Tq, Tk)
    S = S if softcap is None else softcap * np.tanh(S / softcap)
    slope = 1.0 if softcap is None else 1 - (S / softcap) ** 2
    S = np.where(see, S, -np.inf)  # (B, H, Tq, Tk)
    Z = oracle.factors(S.shape, np.float64, arguments.get("dropout", 0.0), arguments.get("rng"))
    Z = np.broadcast_to(Z, S.shape)
    m, l, o = np.full((B, H, Tq, 1), -np.inf), np.zeros((B, H, Tq, 1)), np.zeros((B, H, Tq, value.shape[3]))
    for j in range(0, Tk, tile):
        part = slice(j, j + tile)
        top = np.maximum(m, S[..., part].max(axis=-1, keepdims=True))
        less = oracle.or_zero(top)
        turn, p = np.exp(m - less), np.exp(S[..., part] - less)
        m, l, o = top, l * turn + p.sum(axis=-1, keepdims=True), o * turn + read(p * Z[..., part]) @ value[:, :, part]
    y = o / np.where(l == 0, 1, l)  # (B, H, Tq, Kv)
    P = np.exp(S - oracle.or_zero(m)) / np.where(l == 0, 1, l)
    exact_dy = oracle.heads(dy.astype(np.float64))  # (B, H, Tq, Kv)
    D = (exact_dy * y).sum(axis=-1, keepdims=True)
    dP = Z * (read(exact_dy) @ value.swapaxes(2, 3))
    dS, parts = P * (dP - D) * slope, P * (abs(dP) + abs(D))
    gradients = {
        "query": oracle.heads(scale * read(dS) @ key),
        "key": oracle.sum_heads(oracle.heads(scale * read(dS).swapaxes(2, 3) @ query), G),
        "value": oracle.sum_heads(oracle.heads(read(P * Z).swapaxes(2, 3) @ read(exact_dy)), G),
    }

    def most(x):
        return float(np.abs(x).max(initial=0))

    terms = {
        "y": most(P * Z) * most(value),
        "query": scale * most(dS) * most(key),
        "key": scale * most(dS) * most(query),
        "value": most(P * Z) * most(dy),
    }
    whole = {**terms, "query": scale * most(parts) * most(key), "key": scale * most(parts) * most(query)}
    return Result({"y": oracle.heads(y)}, gradients), terms, whole
