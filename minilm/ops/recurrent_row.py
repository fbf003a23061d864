"""One step of one row in rnn, lstm and gru, as generation takes it: products at the speed of reading the weights, then the gates.

A kernel ``step_units(start, stop, x, *states, W_ih, W_hh, b_ih, b_hh, ...)`` makes, for units [16 start, 16 stop) of every gate,
the products by x and by the state (`minilm.ops.row`) and what the gates make of them. A unit needs no other unit's gates, so
threads share out the units and none waits for another. The bits are those of the row among others (`minilm.ops.recurrent_cpu`).
"""

from __future__ import annotations

from minilm import devices
from minilm.compiled.jit import jit
from minilm.ops import precision
from minilm.ops.row import LANES32, LANES64, WORTH, multiply_transposed

UNITS = 16  # that threads are given at a time


def alone(x) -> bool:
    """Whether x (B, D) is one row whose products are those of `minilm.ops.row`."""
    return len(x) == 1 and not precision.bfloat16(x.dtype)


def run(step_units, x, *arrays, H: int) -> None:
    """Run ``step_units(start, stop, x, *arrays)`` over all H units of one row; W_ih and W_hh are among the arrays."""
    weights = sum(array.size for array in arrays if getattr(array, "ndim", 0) == 2)
    count = -(-H // UNITS)
    devices.parallel(step_units, count, x, *arrays, grain=max(1, WORTH * count // max(1, weights)))


@jit
def unit_products(first, last, v, W, out):
    # out (G (last - first),): of W v, W (G H, K), what belongs to units [first, last) of each of G gates
    units = last - first
    gates = len(out) // units
    H, lanes = len(W) // gates, LANES32 if W.itemsize == 4 else LANES64
    for gate in range(gates):
        rows = W[gate * H + first : gate * H + last]
        multiply_transposed(0, -(-units // lanes), v, rows, out[gate * units : (gate + 1) * units])


@jit
def unit_numbers(first, last, numbers, out):
    # out (G (last - first),): of the numbers (G H,) of all units, those of units [first, last) of each of G gates
    units = last - first
    gates = len(out) // units
    H = len(numbers) // gates
    for gate in range(gates):
        for j in range(units):
            out[gate * units + j] = numbers[gate * H + first + j]


@jit
def put_unit_numbers(first, last, numbers, out):
    # the other way: numbers (G (last - first),) to their places in out (G H,)
    units = last - first
    gates = len(numbers) // units
    H = len(out) // gates
    for gate in range(gates):
        for j in range(units):
            out[gate * H + first + j] = numbers[gate * units + j]


@jit
def add(a, b):
    # a (N,) += b (N,)
    for j in range(len(a)):
        a[j] += b[j]
