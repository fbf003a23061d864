"""Cases that the ops rnn, lstm and gru share, for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops.contract import Case

DIMS = {"B": (2, 1, 3, 8, 19), "T": (3, 1, 2, 7, 18), "D": (2, 1, 5, 33, 64), "H": (3, 1, 5, 17, 40, 67)}
CELL_DIMS = {"B": (2, 1, 3, 19), "D": (2, 1, 5, 33), "H": (3, 1, 5, 17, 67)}


def draw(rng, dtype, dims, gates: int, states: tuple[str, ...], *, padded=None, more=None) -> Case:
    """Random arguments: of a sequence where there is a T, of a cell otherwise. All weights and biases are non-zero."""
    B, D, H = dims["B"], dims["D"], dims["H"]
    lead = (dims["T"], B) if "T" in dims else (B,)
    arguments = {"x": rng.standard_normal((*lead, D))}
    arguments.update({name: rng.uniform(0.2, 0.9, (B, H)) * rng.choice([-1, 1], (B, H)) for name in states})
    arguments["W_ih"] = rng.standard_normal((gates * H, D)) / max(1, D) ** 0.5
    arguments["W_hh"] = rng.standard_normal((gates * H, H)) / max(1, H) ** 0.5
    arguments["b_ih"], arguments["b_hh"] = (rng.uniform(0.1, 0.6, gates * H) * rng.choice([-1, 1], gates * H) for _ in range(2))
    arguments = {name: array.astype(dtype) for name, array in arguments.items()}
    differentiable = tuple(arguments)
    if padded:
        arguments["lengths"] = rng.integers(1, dims["T"] + 1, B)
        if B > 1:
            arguments["lengths"][0] = 1  # a row that ends long before the others
    return Case({**arguments, **(more or {})}, differentiable)


def work(gates: int):
    """flops(dims) and bytes(dims, itemsize) of forward and backward: products, and every array once each way."""

    def flops(d):
        N, D, H = d.get("T", 1) * d["B"], d["D"], d["H"]
        return 3 * 2 * N * gates * H * (D + H) + 60 * N * gates * H

    def moved(d, size):
        N, D, H = d.get("T", 1) * d["B"], d["D"], d["H"]
        return size * (3 * N * (D + H) + 4 * N * gates * H + 3 * gates * H * (D + H))

    return flops, moved
