"""Cases of `minilm.ops.sampling` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.random import Key


def draw(rng, dtype, dims, *, limits="none", logits="smooth") -> Case:
    """Random arguments; ``limits`` says which options are given, ``logits`` whether many of them are equal."""
    B, V = dims["B"], dims["V"]
    x = 3 * rng.standard_normal((B, V)) if logits == "smooth" else rng.integers(-3, 4, (B, V)).astype(float)
    options = {
        "none": {"temperature": 0.7},
        "top_k": {"temperature": 1.3, "top_k": V // 2 + 1},
        "top_p": {"temperature": 1.0, "top_p": 0.8},
        "both": {"temperature": 1.5, "top_k": V - V // 3, "top_p": 0.6},
        "greedy": {"temperature": 0.0},
    }[limits]
    key = Key(int(rng.integers(2**40, 2**63)), int(rng.integers(2**33)), int(rng.integers(2**32)))
    return Case({"logits": x.astype(dtype), "key": key, **options}, ())


OP = Op(
    name="sampling",
    package="minilm.ops.sampling",
    dims={"B": (3, 1, 2, 7), "V": (5, 1, 31, 67, 1201)},
    draw=draw,
    options={"limits": ("none", "top_k", "top_p", "both", "greedy"), "logits": ("smooth", "ties")},
    flops=lambda d: 25 * d["B"] * d["V"],
    bytes=lambda d, size: size * d["B"] * d["V"],
    backward=None,
)
OPS = (OP,)
