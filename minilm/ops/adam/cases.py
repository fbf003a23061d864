"""Cases of `minilm.ops.adam` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, decoupled=False, amsgrad=False, at=3, clear=False, groups=1) -> Case:
    """Random arguments; ``at`` is the step, ``groups`` the largest number of groups with settings of their own."""
    N = dims["N"]
    grad, m = (rng.standard_normal(N).astype(dtype) for _ in range(2))
    param = rng.uniform(0.7, 2, N).astype(dtype)  # an update does not make it vanish
    v, v_max = (rng.uniform(0.1, 2, N).astype(dtype) for _ in range(2))
    arguments = {"param": param, "grad": grad, "m": m, "v": v, "v_max": v_max if amsgrad else None}
    arguments |= {"step": at, "lr": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 0.01, "weight_decay": 0.3}
    if groups > 1:
        ends = np.unique([*rng.integers(1, N + 1, groups - 1), N]).tolist()
        rates, decays = rng.uniform(0.05, 0.2, len(ends)).tolist(), rng.uniform(0.1, 0.5, len(ends)).tolist()
        arguments |= {"lr": rates, "weight_decay": decays, "ends": ends}
    return Case(arguments | {"decoupled": decoupled, "scale": 0.7, "clear": clear}, ())


OP = Op(
    name="adam",
    package="minilm.ops.adam",
    dims={"N": (7, 1, 31, 4097, 70_001)},
    draw=draw,
    options={"decoupled": (False, True), "amsgrad": (False, True), "at": (3, 1), "clear": (False, True), "groups": (1, 4)},
    flops=lambda d: 16 * d["N"],
    bytes=lambda d, size: size * 7 * d["N"],
    forward="step",
    backward=None,
    updates=("param", "grad", "m", "v", "v_max"),
)
OPS = (OP,)
