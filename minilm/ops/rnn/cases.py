"""Cases of `minilm.ops.rnn` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops import recurrent_cases
from minilm.ops.contract import Op
from minilm.ops.rnn.spec import GATES, KINDS

STATES = ("h0",)


def draw(rng, dtype, dims, *, padded=False, reverse=False, nonlinearity="tanh"):
    """Random arguments of `forward`."""
    return recurrent_cases.draw(
        rng, dtype, dims, GATES, STATES, padded=padded, more={"reverse": reverse, "nonlinearity": nonlinearity}
    )


def draw_cell(rng, dtype, dims, *, nonlinearity="tanh"):
    """Random arguments of `cell_forward`."""
    return recurrent_cases.draw(rng, dtype, dims, GATES, STATES, more={"nonlinearity": nonlinearity})


FLOPS, BYTES = recurrent_cases.work(GATES)
OPS = (
    Op(
        name="rnn",
        package="minilm.ops.rnn",
        dims=recurrent_cases.DIMS,
        draw=draw,
        options={"padded": (False, True), "reverse": (False, True), "nonlinearity": KINDS},
        flops=FLOPS,
        bytes=BYTES,
    ),
    Op(
        name="rnn_cell",
        package="minilm.ops.rnn",
        dims=recurrent_cases.CELL_DIMS,
        draw=draw_cell,
        options={"nonlinearity": KINDS},
        flops=FLOPS,
        bytes=BYTES,
        forward="cell_forward",
        backward="cell_backward",
    ),
)
