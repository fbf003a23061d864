"""Cases of `minilm.ops.linear` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, bias=True, lead=1) -> Case:
    """Random arguments; ``lead`` is the number of leading axes."""
    N, I, O = dims["N"], dims["I"], dims["O"]
    rows = {0: (), 1: (N,), 2: (2, N)}[lead]
    arguments = {"x": rng.standard_normal((*rows, I)), "W": rng.standard_normal((O, I)), "b": rng.standard_normal(O)}
    if not bias:
        del arguments["b"]
    return Case({name: array.astype(dtype) for name, array in arguments.items()}, tuple(arguments))


OP = Op(
    name="linear",
    package="minilm.ops.linear",
    dims={"N": (3, 1, 7, 64, 131), "I": (4, 1, 5, 33, 256), "O": (2, 1, 3, 65, 127)},
    draw=draw,
    options={"bias": (True, False), "lead": (1, 0, 2)},
    flops=lambda d: 3 * 2 * d["N"] * d["I"] * d["O"],
    bytes=lambda d, size: size * (3 * d["N"] * (d["I"] + d["O"]) + 3 * d["I"] * d["O"]),
)
OPS = (OP,)
