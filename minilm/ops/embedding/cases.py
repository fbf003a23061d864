"""Cases of `minilm.ops.embedding` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, lead=1) -> Case:
    """Random arguments; ids repeat, the first and the last row are among them where there is room. No padding index: its
    gradient is zero by declaration, not by differentiation."""
    N, V, D = dims["N"], dims["V"], dims["D"]
    shape = {1: (N,), 2: (2, N), 3: (2, 1, N)}[lead]
    ids = rng.integers(0, V, shape)
    flat = ids.reshape(-1)
    for n, v in zip(range(flat.size), (0, V - 1, 0), strict=False):
        flat[n] = v
    return Case({"ids": ids, "W": rng.standard_normal((V, D)).astype(dtype)}, ("W",))


OP = Op(
    name="embedding",
    package="minilm.ops.embedding",
    dims={"N": (5, 1, 7, 64, 300), "V": (4, 1, 11, 127), "D": (3, 1, 5, 64, 130)},
    draw=draw,
    options={"lead": (1, 2, 3)},
    flops=lambda d: d["N"] * d["D"],
    bytes=lambda d, size: size * (4 * d["N"] * d["D"] + d["V"] * d["D"]) + 2 * 8 * d["N"],
)
OPS = (OP,)
