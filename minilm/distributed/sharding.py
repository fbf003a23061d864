r"""ZeRO-1: each rank keeps the optimizer's state of its own pieces of the weights, and updates those alone.

::

    gradients   reduce-scatter     each rank has the sums of its own pieces
    norm        all-gather         of the pieces' sums of squares, a number for some thousands of gradients
    weights     own pieces         by the optimizer, whose state there is of them only
    weights     all-gather         all ranks have all weights again

With P weights, R ranks and Adam's two moments a rank keeps :math:`8 P / R` bytes of state instead of :math:`8 P`, and what
travels is as much as in an all-reduce, which is these two steps with the update after them. The bits are the same, since an
update of Adam or SGD depends on nothing but the number's own gradient and state, and the norm's sums of squares are those of the
same chunks of the buffer, added in the same order.

Source: S. Rajbhandari, J. Rasley, O. Ruwase, Y. He, ZeRO: memory optimizations toward training trillion parameter models,
SC 2020.
"""

from __future__ import annotations

import math

import numpy as np

from minilm import devices
from minilm.distributed.reduction import Reduction
from minilm.ops import clip
from minilm.optimizers import Optimizer

__all__ = ["CHUNK", "ShardedUpdate"]

CHUNK = 16384  # pieces begin at multiples of it: the numbers that a partial sum of `minilm.ops.clip` covers


class ShardedUpdate:
    """Norm and update by pieces.

    Parameters
    ----------
    reduction : Reduction
        With ``whole=False`` and ``step=CHUNK``.
    optimizer : Optimizer
        Which has taken no step yet; it keeps its state in pieces from now on.
    """

    def __init__(self, reduction: Reduction, optimizer: Optimizer):
        self._reduction, self._optimizer = reduction, optimizer
        optimizer.shard(reduction.pieces(), reduction.gather)

    def norm(self) -> float:
        """The norm of all gradients, before clipping. The ranks call this together.

        Of ``gradient_flat`` each rank has the sums of its own pieces alone, so what travels is the chunks' sums of squares.

        Returns
        -------
        float
            In the gradients' dtype, the same on all ranks.
        """
        reduction = self._reduction
        gradient = reduction.parameters.gradient_flat  # (P,)
        squares = np.zeros(-(-gradient.size // CHUNK))  # (chunks,)
        for piece in reduction.pieces():
            if piece.start < piece.stop:
                chunks = _squares(gradient[piece])
                squares[piece.start // CHUNK : piece.start // CHUNK + len(chunks)] = chunks
        total = reduction.communicator.exchange(squares).sum(axis=0)  # (chunks,) of each all but one are zero
        return gradient.dtype.type(math.sqrt(total.sum()))

    def step(self, lr: float, norm: float) -> None:
        """Update the own pieces of the weights, and take those of the others; the gradients are zero then.

        Parameters
        ----------
        lr : float
        norm : float
            Of `norm`, for clipping.
        """
        parameters = self._reduction.parameters
        self._optimizer.step(lr, norm=norm)
        self._reduction.gather(parameters.flat)
        parameters.zero_gradients()


def _squares(gradient) -> np.ndarray:
    """The sums of squares of a piece's chunks, on the host; on a GPU, where bits are not promised, one for all of them."""
    if devices.on_gpu(gradient):
        return np.array([float(clip.norm(gradient)) ** 2])
    from minilm.ops.clip.cpu import squares

    return np.array(squares(gradient))
