"""Cases of `minilm.ops.muon` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, rule="nesterov", at=3, clear=False) -> Case:
    """Random arguments; ``at`` is the step."""
    shape = dims["O"], dims["I"]
    grad, buffer = (rng.standard_normal(shape) for _ in range(2))
    param = rng.uniform(0.7, 2, shape)  # an update does not make it vanish
    arguments = {"param": param, "grad": grad, "momentum_buffer": buffer}
    arguments = {name: array.astype(dtype) for name, array in arguments.items()}
    arguments |= {"step": at, "lr": 0.1, "momentum": 0.9, "nesterov": rule == "nesterov", "weight_decay": 0.05, "scale": 0.7}
    size = "match_rms_adamw" if rule == "nesterov" else "original"
    return Case({**arguments, "size": size, "clear": clear}, ())


def _flops(d) -> int:
    """Five iterations, each of three products."""
    few, many = sorted((d["O"], d["I"]))
    return 5 * 2 * (2 * few * few * many + few**3) + 20 * few * many


OP = Op(
    name="muon",
    package="minilm.ops.muon",
    dims={"O": (3, 1, 7, 33, 130), "I": (4, 1, 5, 31, 67)},
    draw=draw,
    options={"rule": ("nesterov", "plain"), "at": (3, 1), "clear": (False, True)},
    flops=_flops,
    bytes=lambda d, size: size * 5 * d["O"] * d["I"],
    forward="step",
    backward=None,
    updates=("param", "grad", "momentum_buffer"),
)
OPS = (OP,)
