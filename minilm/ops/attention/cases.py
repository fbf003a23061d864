"""Cases of `minilm.ops.attention` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case, Op
from minilm.random import Key


def draw(rng, dtype, dims, *, sees="all", padded=False, dropout=0.0) -> Case:
    """Random arguments; ``sees`` is the pattern, and with ``padded`` the last batch row has no key that may be attended.

    In the "grouped" pattern each head of keys and values serves two of queries, and the scores are capped.
    """
    B, Tq, Tk, G, K, Kv = (dims[letter] for letter in ("B", "Tq", "Tk", "H", "K", "Kv"))
    H = 2 * G if "grouped" in sees else G
    shapes = {"query": (B, Tq, H, K), "key": (B, Tk, G, K), "value": (B, Tk, G, Kv)}
    arguments = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    arguments["causal"] = "causal" in sees
    if "band" in sees:
        arguments["band"] = max(2, Tk // 2)
        arguments["scale"] = 0.7
    if "grouped" in sees:
        arguments["softcap"] = 1.5
    if padded:
        mask = rng.random((B, Tk)) < 0.7
        mask[:-1, :2] = True
        mask[-1:] = B == 1
        arguments["key_mask"] = mask
    if dropout:
        arguments |= {"dropout": dropout, "rng": Key(int(rng.integers(2**63)), 3, 7)}
    return Case(arguments, ("query", "key", "value"))


def _flops(d) -> int:
    """Two products forward and five backward, and about 60 operations a score for two exponentials."""
    return d["B"] * d["H"] * d["Tq"] * d["Tk"] * (2 * (4 * d["K"] + 3 * d["Kv"]) + 60)


OP = Op(
    name="attention",
    package="minilm.ops.attention",
    dims={
        "B": (2, 1, 3),
        "Tq": (3, 1, 2, 31, 67, 130, 300),
        "Tk": (4, 1, 3, 33, 64, 131, 300),
        "H": (2, 1, 3, 5),
        "K": (3, 1, 2, 32, 33, 65),
        "Kv": (2, 1, 3, 31, 32, 66),
    },
    draw=draw,
    options={"sees": ("all", "causal", "band", "causal band", "causal grouped"), "padded": (False, True), "dropout": (0.0, 0.3)},
    flops=_flops,
    bytes=lambda d, size: size * 3 * d["B"] * d["H"] * (d["Tq"] * (d["K"] + d["Kv"]) + d["Tk"] * (d["K"] + d["Kv"])),
)
OPS = (OP,)
