"""Cases of `minilm.ops.rmsprop` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, rule="plain", at=3, clear=False) -> Case:
    """Random arguments; ``at`` is the step."""
    N = dims["N"]
    grad, mean, buffer = (rng.standard_normal(N) for _ in range(3))
    v = mean**2 + rng.uniform(0.5, 1, N)  # no variance near zero
    grad = rng.choice([-1.0, 1.0], N) * (0.2 + abs(grad))
    param = rng.uniform(0.7, 2, N)  # an update does not make it vanish
    arguments = {"param": param, "grad": grad, "v": v, "mean": mean, "momentum_buffer": buffer}
    arguments = {name: array.astype(dtype) for name, array in arguments.items()}
    if rule != "centred, momentum":
        arguments |= {"mean": None, "momentum_buffer": None}
    arguments |= {"step": at, "lr": 0.01, "alpha": 0.9, "eps": 0.1, "weight_decay": 0.05, "scale": 0.7, "clear": clear}
    return Case({**arguments, "momentum": 0.8 if rule == "centred, momentum" else 0.0}, ())


OP = Op(
    name="rmsprop",
    package="minilm.ops.rmsprop",
    dims={"N": (7, 1, 31, 4097, 70_001)},
    draw=draw,
    options={"rule": ("plain", "centred, momentum"), "at": (3, 1), "clear": (False, True)},
    flops=lambda d: 14 * d["N"],
    bytes=lambda d, size: size * 7 * d["N"],
    forward="step",
    backward=None,
    updates=("param", "grad", "v", "mean", "momentum_buffer"),
)
OPS = (OP,)
