"""Cases of `minilm.ops.clip` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, lead=1) -> Case:
    """Random arguments; ``lead`` is the number of axes."""
    N = dims["N"]
    return Case({"grad": rng.standard_normal({1: (N,), 2: (3, N)}[lead]).astype(dtype)}, ())


OP = Op(
    name="clip",
    package="minilm.ops.clip",
    dims={"N": (7, 1, 31, 4097, 100_003)},
    draw=draw,
    options={"lead": (1, 2)},
    flops=lambda d: 2 * d["N"],
    bytes=lambda d, size: size * d["N"],
    forward="norm",
    backward=None,
)
OPS = (OP,)
