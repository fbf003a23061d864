"""What the CPU's kernels of rnn, lstm and gru share.

A kernel has the form ``kernel(start, stop, *arrays, panels, lengths, reverse)`` and takes rows [start, stop) of the batch through
all steps: a thread keeps its rows from the first step to the last, so no step waits for another thread, and the recurrent
weights are packed once a sequence (`minilm.ops.recurrent_product`).
"""

from __future__ import annotations

import numpy as np

from minilm import devices
from minilm.ops.contract import fold
from minilm.ops.linear.cpu import column_sums
from minilm.ops.product import WORTH, product, transposed_product, transposed_products
from minilm.ops.recurrence import active, weights_learn
from minilm.ops.recurrent_product import packed
from minilm.ops.workspace import empty, scratch


def run(kernel, weights, transposed: bool, arrays, lengths, reverse: bool) -> None:
    """Run a kernel over all rows. `arrays` begins with one of (T, B, ...); the products are by Wᵀ (forward) or W of `weights`."""
    T, B = arrays[0].shape[:2]
    with scratch():
        panels = packed(weights, transposed)
        ends = empty((B,), np.int64)  # (B,) one kernel for padded and for full rows
        ends[...] = T if lengths is None else lengths
        grain = max(1, WORTH // max(1, T * sum(W.size for W in weights)))
        devices.parallel(kernel, B, *arrays, panels, ends, reverse, grain=grain)


def outputs(states, lengths):
    """y (T, B, H) of the states after the steps: the same numbers, or a copy with zeros beyond the rows' lengths."""
    if lengths is None:
        return states
    y = empty(states.shape, states.dtype)
    y[...] = states
    np.copyto(y, 0, where=~active(*states.shape[:2], lengths))
    return y


def cotangent(dy, shape, dtype):
    """`dy`, or zeros for None."""
    if dy is None:
        dy = empty(shape, dtype)
        dy.fill(0)
    return dy


def started(d_last, shape, dtype):
    """The gradient of a state that a kernel carries from the last step to the first: at first `d_last`, or zero for None."""
    carried = empty(shape, dtype)
    carried[...] = 0 if d_last is None else d_last
    return carried


class Gradients:
    """The gradients that are products over all steps; made before the scratch that they are computed from."""

    def __init__(self, x, W_ih, W_hh):
        self.dx, self.dW_ih, self.dW_hh = (empty(a.shape, a.dtype) for a in (x, W_ih, W_hh))
        self.db_ih, self.db_hh = (empty(W_ih.shape[:1], x.dtype) for _ in range(2))
        self._x, self._W_ih = x, W_ih

    def fill(self, da, h, du=None):
        """From da (..., G) by the gates' arguments and the states h (..., H) before the steps.

        Where the last gate's product with the state has a gradient of its own, that is `du` (..., H).
        """
        da, h = fold(da), fold(h)  # (N, G), (N, H)
        product(da, self._W_ih, fold(self.dx), transposed=False)
        if not weights_learn():
            return
        column_sums(da, out=self.db_ih)
        self.db_hh[...] = self.db_ih
        if du is None:
            transposed_products(da, (fold(self._x), h), (self.dW_ih, self.dW_hh))
            return
        transposed_product(da, fold(self._x), self.dW_ih)
        du, common = fold(du), da.shape[1] - h.shape[1]
        transposed_product(da[:, :common], h, self.dW_hh[:common])
        transposed_product(du, h, self.dW_hh[common:])
        column_sums(du, out=self.db_hh[common:])
