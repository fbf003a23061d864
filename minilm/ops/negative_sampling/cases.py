"""Cases of `minilm.ops.negative_sampling` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.ops.negative_sampling.spec import REDUCTIONS


def draw(rng, dtype, dims, *, reduction="mean") -> Case:
    """Random arguments; the first negative of the first row is its target."""
    N, V, D, K = (dims[letter] for letter in "NVDK")
    h, W = (rng.uniform(0.1, 1, shape) * rng.choice([-1, 1], shape) for shape in ((N, D), (V, D)))
    targets, negatives = rng.integers(0, V, N), rng.integers(0, V, (N, K))
    negatives[:1, :1] = targets[:1, None]
    arguments = {"h": h.astype(dtype), "W": W.astype(dtype), "targets": targets, "negatives": negatives}
    return Case({**arguments, "reduction": reduction}, ("h", "W"))


OP = Op(
    name="negative_sampling",
    package="minilm.ops.negative_sampling",
    dims={"N": (3, 1, 7, 130), "V": (5, 1, 31, 1000), "D": (2, 1, 17, 100), "K": (2, 1, 5)},
    draw=draw,
    options={"reduction": REDUCTIONS},
    flops=lambda d: d["N"] * (d["K"] + 1) * (6 * d["D"] + 40),
    bytes=lambda d, size: size * (d["N"] * (d["K"] + 1) * 3 * d["D"] + d["V"] * d["D"]),
)
OPS = (OP,)
