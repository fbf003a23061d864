"""Cases of `minilm.ops.softmax` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, form="plain") -> Case:
    """Random arguments; ``form`` is their rank, or logits of tens."""
    N, V = dims["N"], dims["V"]
    shape = {"plain": (N, V), "large": (N, V), "rank 1": (V,), "rank 4": (2, 1, N, V)}[form]
    x = rng.standard_normal(shape) * (10 if form == "large" else 1)
    return Case({"x": x.astype(dtype)}, ("x",))


def _op(name, prefix, flops):
    return Op(
        name=name,
        package="minilm.ops.softmax",
        dims={"N": (3, 1, 2, 37, 130), "V": (4, 1, 2, 31, 65, 1000)},
        draw=draw,
        options={"form": ("plain", "rank 1", "rank 4", "large")},
        flops=lambda d: flops * d["N"] * d["V"],
        bytes=lambda d, size: size * 5 * d["N"] * d["V"],
        forward=f"{prefix}forward",
        backward=f"{prefix}backward",
    )


OPS = (_op("softmax", "", 28), _op("log_softmax", "log_", 48))  # an exp counts as 20 operations
