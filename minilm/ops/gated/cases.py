"""Cases of `minilm.ops.gated` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, lead=1, span=1.0) -> Case:
    """Random arguments; ``lead`` is the number of axes, ``span`` the spread of the gate's argument."""
    N = dims["N"]
    shape = {1: (N,), 2: (N, 2), 4: (2, 1, N, 3)}[lead]
    a, b = (scale * rng.standard_normal(shape) for scale in (span, 1.0))
    return Case({"a": a.astype(dtype), "b": b.astype(dtype)}, ("a", "b"))


def _op(name, flops):
    return Op(
        name=name,
        package="minilm.ops.gated",
        dims={"N": (7, 1, 3, 31, 1025, 70_001)},
        draw=draw,
        options={"lead": (1, 2, 4), "span": (1.0, 3.0)},
        flops=lambda d: flops * d["N"],
        bytes=lambda d, size: size * 8 * d["N"],
        forward=f"{name}_forward",
        backward=f"{name}_backward",
    )


# an exp counts as 20 operations, a division as one
OPS = (_op("swiglu", 60), _op("geglu", 70))
