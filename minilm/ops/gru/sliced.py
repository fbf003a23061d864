"""GRU on the GPU, the recurrent weights spread over the multiprocessors: the table of the kernels in sliced.cu."""

from __future__ import annotations

from minilm.ops.cuda import Kernels, slices

GATES = 3

KERNELS = Kernels(
    __file__,
    slices.kernel("gru_sliced_forward", GATES, backward=False),
    slices.kernel("gru_sliced_backward", GATES, backward=True),
    defines=slices.DEFINES,
)
