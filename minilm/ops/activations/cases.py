"""Cases of `minilm.ops.activations` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, lead=1, span=1.0) -> Case:
    """Random arguments, none near relu's kink; ``lead`` is the number of axes, ``span`` their spread."""
    N = dims["N"]
    shape = {1: (N,), 2: (N, 2), 4: (2, 1, N, 3)}[lead]
    x = span * rng.standard_normal(shape)
    return Case({"x": (x + np.copysign(0.1, x)).astype(dtype)}, ("x",))


def _op(name, flops):
    return Op(
        name=name,
        package="minilm.ops.activations",
        dims={"N": (7, 1, 3, 31, 1025, 70_001)},
        draw=draw,
        options={"lead": (1, 2, 4), "span": (1.0, 3.0)},
        flops=lambda d: flops * d["N"],
        bytes=lambda d, size: size * 5 * d["N"],
        forward=f"{name}_forward",
        backward=f"{name}_backward",
    )


# an exp counts as 20 operations, a division as one
OPS = (_op("sigmoid", 26), _op("tanh", 33), _op("relu", 3), _op("silu", 55), _op("gelu_erf", 90), _op("gelu_tanh", 65))
