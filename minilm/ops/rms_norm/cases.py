"""Cases of `minilm.ops.rms_norm` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, scaled=True, form="plain") -> Case:
    """Random arguments; ``form`` is the rank of x, or numbers far larger than 1."""
    N, D = dims["N"], dims["D"]
    shape = {"rank 1": (D,), "rank 4": (2, 1, N, D)}.get(form, (N, D))
    x = (rng.standard_normal(shape) + 0.3) * (1e4 if form == "large" else 1)
    arguments = {"x": x.astype(dtype)}
    if scaled:
        arguments["gamma"] = rng.uniform(0.5, 1.5, D).astype(dtype)
    return Case(arguments, tuple(arguments))


OP = Op(
    name="rms_norm",
    package="minilm.ops.rms_norm",
    dims={"N": (3, 1, 2, 67, 200), "D": (5, 1, 2, 33, 127, 256)},
    draw=draw,
    options={"scaled": (True, False), "form": ("plain", "large", "rank 1", "rank 4")},
    flops=lambda d: 16 * d["N"] * d["D"],
    bytes=lambda d, size: size * 5 * d["N"] * d["D"],
)
OPS = (OP,)
