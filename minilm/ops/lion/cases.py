"""Cases of `minilm.ops.lion` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, at=3, clear=False) -> Case:
    """Random arguments, none of whose means is near zero, where a sign would turn by rounding; ``at`` is the step."""
    N = dims["N"]
    sign = rng.choice([-1.0, 1.0], N)
    grad, m = (sign * rng.uniform(0.2, 2, N) for _ in range(2))
    param = rng.uniform(0.7, 2, N)  # an update does not make it vanish
    arguments = {name: array.astype(dtype) for name, array in (("param", param), ("grad", grad), ("m", m))}
    return Case({**arguments, "step": at, "lr": 0.1, "weight_decay": 0.05, "scale": 0.7, "clear": clear}, ())


OP = Op(
    name="lion",
    package="minilm.ops.lion",
    dims={"N": (7, 1, 31, 4097, 70_001)},
    draw=draw,
    options={"at": (3, 1), "clear": (False, True)},
    flops=lambda d: 9 * d["N"],
    bytes=lambda d, size: size * 5 * d["N"],
    forward="step",
    backward=None,
    updates=("param", "grad", "m"),
)
OPS = (OP,)
