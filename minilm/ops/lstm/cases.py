"""Cases of `minilm.ops.lstm` for tests and benchmarks: sizes, random arguments, and the work of a call."""

from __future__ import annotations

from minilm.ops import recurrent_cases
from minilm.ops.contract import Op
from minilm.ops.lstm.spec import GATES

STATES = ("h0", "c0")


def draw(rng, dtype, dims, *, padded=False, reverse=False):
    """Random arguments of `forward`."""
    return recurrent_cases.draw(rng, dtype, dims, GATES, STATES, padded=padded, more={"reverse": reverse})


def draw_cell(rng, dtype, dims):
    """Random arguments of `cell_forward`."""
    return recurrent_cases.draw(rng, dtype, dims, GATES, STATES)


FLOPS, BYTES = recurrent_cases.work(GATES)
OPS = (
    Op(
        name="lstm",
        package="minilm.ops.lstm",
        dims=recurrent_cases.DIMS,
        draw=draw,
        options={"padded": (False, True), "reverse": (False, True)},
        flops=FLOPS,
        bytes=BYTES,
    ),
    Op(
        name="lstm_cell",
        package="minilm.ops.lstm",
        dims=recurrent_cases.CELL_DIMS,
        draw=draw_cell,
        flops=FLOPS,
        bytes=BYTES,
        forward="cell_forward",
        backward="cell_backward",
    ),
)
