"""Cases of `minilm.ops.rotary` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

import numpy as np

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, interleaved=False, listed=False, part=False) -> Case:
    """Random arguments; ``listed`` passes positions in any order, ``part`` leaves three numbers of a head as they are."""
    B, T, H, half = (dims[letter] for letter in ("B", "T", "H", "R/2"))
    K = 2 * half + 3 * part
    angles = rng.uniform(0, 7, (T + 3, half))  # any angles: a table need not be one of powers
    arguments = {
        "x": rng.standard_normal((B, T, H, K)).astype(dtype),
        "cos": np.cos(angles).astype(dtype),
        "sin": np.sin(angles).astype(dtype),
    }
    if listed:
        arguments["positions"] = rng.integers(0, T + 3, (B, T))
    return Case({**arguments, "interleaved": interleaved}, ("x",))


OP = Op(
    name="rotary",
    package="minilm.ops.rotary",
    dims={"B": (2, 1, 3), "T": (3, 1, 33, 70), "H": (2, 1, 3), "R/2": (2, 1, 3, 32, 65)},
    draw=draw,
    options={"interleaved": (False, True), "listed": (False, True), "part": (False, True)},
    flops=lambda d: 6 * d["B"] * d["T"] * d["H"] * 2 * d["R/2"],
    bytes=lambda d, size: size * 4 * d["B"] * d["T"] * d["H"] * 2 * d["R/2"],
)
OPS = (OP,)
