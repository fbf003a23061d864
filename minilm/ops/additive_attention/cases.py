"""Cases of `minilm.ops.additive_attention` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, padded=False) -> Case:
    """Random arguments; with ``padded`` the last batch row has no key that may be attended."""
    B, Tq, Tk, A, D = (dims[letter] for letter in ("B", "Tq", "Tk", "A", "D"))
    shapes = {"query": (B, Tq, A), "key": (B, Tk, A), "v": (A,), "value": (B, Tk, D)}
    arguments = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    if padded:
        mask = rng.random((B, Tk)) < 0.7
        mask[:-1, :2] = True
        mask[-1:] = B == 1
        arguments["key_mask"] = mask
    return Case(arguments, tuple(shapes))


OP = Op(
    name="additive_attention",
    package="minilm.ops.additive_attention",
    dims={"B": (2, 1, 3), "Tq": (3, 1, 2, 31, 50), "Tk": (4, 1, 3, 33, 70), "A": (3, 1, 17, 64, 130), "D": (2, 1, 3, 31, 128)},
    draw=draw,
    options={"padded": (False, True)},
    flops=lambda d: d["B"] * d["Tq"] * d["Tk"] * (62 * d["A"] + 6 * d["D"] + 20),  # a tanh counts as 25 operations
    bytes=lambda d, size: size * 3 * d["B"] * (d["Tq"] * (d["A"] + d["D"] + d["Tk"]) + d["Tk"] * (d["A"] + d["D"])),
)
OPS = (OP,)
