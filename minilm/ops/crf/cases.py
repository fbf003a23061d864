"""Cases of `minilm.ops.crf` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

import dataclasses

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, padded=False, scores="plain") -> Case:
    """Random arguments; with ``padded`` rows of several lengths, the last of them 1; with scores "large", some of tens."""
    B, T, K = dims["B"], dims["T"], dims["K"]
    scale = 10 if scores == "large" else 1
    arguments = {
        "emissions": scale * rng.standard_normal((B, T, K)).astype(dtype),
        "tags": rng.integers(0, K, (B, T)),
        "transitions": rng.standard_normal((K, K)).astype(dtype),
        "start": rng.standard_normal(K).astype(dtype),
        "end": rng.standard_normal(K).astype(dtype),
    }
    if padded:
        lengths = rng.integers(1, T + 1, B)
        lengths[-1:] = 1
        arguments["lengths"] = lengths
    return Case(arguments, ("emissions", "transitions", "start", "end"))


def draw_scores(rng, dtype, dims, **options) -> Case:
    """The arguments of `decode`."""
    arguments = draw(rng, dtype, dims, **options).arguments
    return Case({name: value for name, value in arguments.items() if name != "tags"}, ())


OP = Op(
    name="crf",
    package="minilm.ops.crf",
    dims={"B": (2, 1, 3, 17), "T": (3, 1, 2, 17, 40), "K": (3, 1, 2, 9, 31)},
    draw=draw,
    options={"padded": (False, True), "scores": ("plain", "large")},
    flops=lambda d: d["B"] * d["T"] * (2 * d["K"] * d["K"] * 24 + 60 * d["K"]),  # an exp counts as 20 operations
    bytes=lambda d, size: size * 4 * d["B"] * d["T"] * d["K"],
)
VITERBI = dataclasses.replace(
    OP,
    name="viterbi",
    draw=draw_scores,
    forward="decode",
    backward=None,
    flops=lambda d: 2 * d["B"] * d["T"] * d["K"] * d["K"],
    bytes=lambda d, size: size * 2 * d["B"] * d["T"] * d["K"],
)
OPS = (OP, VITERBI)
