"""Cases of `minilm.ops.cross_entropy` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.ops.cross_entropy.spec import REDUCTIONS


def draw(rng, dtype, dims, *, reduction="mean", form="plain", weighting="plain") -> Case:
    """Random arguments; ``form`` is their rank, ignored targets, or logits of tens. The first target is 0."""
    N, V = dims["N"], dims["V"]
    rows = (2, N) if form == "rank 3" else (N,)
    logits = rng.standard_normal((*rows, V)) * (10 if form == "large" else 1)
    targets = rng.integers(0, V, rows)
    targets.reshape(-1)[:1] = 0
    arguments = {"logits": logits.astype(dtype), "targets": targets}
    if weighting in ("weight", "both"):
        arguments["weight"] = rng.uniform(0.5, 2, V).astype(dtype)
    if form == "ignored":
        arguments["ignore_index"] = V
        targets[1::2] = V
    if weighting in ("smoothing", "both"):
        arguments["label_smoothing"] = 0.15
    return Case({**arguments, "reduction": reduction}, ("logits",))


OP = Op(
    name="cross_entropy",
    package="minilm.ops.cross_entropy",
    dims={"N": (4, 1, 3, 37, 130), "V": (5, 1, 2, 31, 65, 1000)},
    draw=draw,
    options={
        "reduction": REDUCTIONS,
        "form": ("plain", "ignored", "large", "rank 3"),
        "weighting": ("plain", "weight", "smoothing", "both"),
    },
    flops=lambda d: 24 * d["N"] * d["V"],  # an exp counts as 20 operations
    bytes=lambda d, size: size * 2 * d["N"] * d["V"],
)
OPS = (OP,)
