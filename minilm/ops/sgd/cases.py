"""Cases of `minilm.ops.sgd` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, rule="momentum", at=3, clear=False) -> Case:
    """Random arguments; ``at`` is the step."""
    N = dims["N"]
    grad, buffer = (rng.standard_normal(N).astype(dtype) for _ in range(2))
    param = rng.uniform(0.7, 2, N).astype(dtype)  # an update does not make it vanish
    arguments = {"param": param, "grad": grad, "momentum_buffer": None if rule == "plain" else buffer}
    arguments |= {"step": at, "lr": 0.1, "weight_decay": 0.05, "scale": 0.7, "clear": clear}
    if rule != "plain":
        arguments |= {"momentum": 0.9, "nesterov": rule == "nesterov", "dampening": 0.2 if rule == "momentum" else 0.0}
    return Case(arguments, ())


OP = Op(
    name="sgd",
    package="minilm.ops.sgd",
    dims={"N": (7, 1, 31, 4097, 70_001)},
    draw=draw,
    options={"rule": ("momentum", "nesterov", "plain"), "at": (3, 1), "clear": (False, True)},
    flops=lambda d: 8 * d["N"],
    bytes=lambda d, size: size * 5 * d["N"],
    forward="step",
    backward=None,
    updates=("param", "grad", "momentum_buffer"),
)
OPS = (OP,)
