"""Cases of `minilm.ops.philox` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.ops.philox.spec import ROUNDS
from minilm.random import Key


def draw(rng, dtype, dims) -> Case:
    """A random key, whose parts need more than 32 bits."""
    key = Key(*(int(rng.integers(2**40, 2**63)) for _ in range(3)))
    return Case({"key": key, "shape": (dims["N"], 3)}, ())


OP = Op(
    name="philox",
    package="minilm.ops.philox",
    dims={"N": (5, 1, 4, 31, 1367, 30_000)},
    draw=draw,
    flops=lambda d: 3 * d["N"] * (10 * ROUNDS) // 4,
    bytes=lambda d, size: 3 * d["N"] * size,
    forward="bits",
    backward=None,
)
OPS = (OP,)
