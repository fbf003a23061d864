"""Cases of `minilm.ops.dropout` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.random import Key


def draw(rng, dtype, dims, *, p=0.4, shared_axis=None, lead=2) -> Case:
    """Random arguments; ``lead`` is the number of axes before the last."""
    N, T, D = dims["N"], dims["T"], dims["D"]
    x = rng.standard_normal({0: (N * T * D,), 2: (N, T, D), 3: (N, 1, T, D)}[lead]).astype(dtype)
    if shared_axis is not None:
        shared_axis = min(shared_axis, lead)
    return Case({"x": x, "p": p, "key": Key(int(rng.integers(2**63)), 3, 7), "shared_axis": shared_axis}, ("x",))


OP = Op(
    name="dropout",
    package="minilm.ops.dropout",
    dims={"N": (2, 1, 5, 40), "T": (3, 1, 7, 65), "D": (4, 1, 17, 64)},
    draw=draw,
    options={"p": (0.4, 0.0, 1.0), "shared_axis": (None, 1, 0, -1), "lead": (2, 0, 3)},
    flops=lambda d: 2 * d["N"] * d["T"] * d["D"] * 26,
    bytes=lambda d, size: 4 * size * d["N"] * d["T"] * d["D"],
)
OPS = (OP,)
