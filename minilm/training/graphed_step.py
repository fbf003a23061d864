"""A step of training as one CUDA graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops.cuda.graphs import Captured, capture, renew
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.training.step import Result, Step
from minilm.typing import Array, State

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["GraphedStep"]

MOST = 4  # CUDA graphs: each has the memory of a step


class _Numbers(NamedTuple):
    """What changes from step to step, on the device: one array of one number each."""

    key_steps: list  # int64, of each part of a batch
    step: object  # int64, of the optimizer
    lr: object  # of the weights' dtype
    rate: object


class _Captured(NamedTuple):
    graph: Captured
    inputs: tuple  # its batch and state


class GraphedStep(Step):
    """A `Step` that launches CUDA graphs. Called inside a stream's ``with`` block; arguments as `Step`'s.

    A step of a small model has hundreds of kernels of a few microseconds each, and Python takes longer to launch one than the GPU
    to run it. As a graph, which is captured once (see `minilm.ops.cuda.graphs`), they start without the host:

    - What changes from step to step lies on the device: the batch, the step that dropout's keys count, the optimizer's step, the
      learning rate, the rate of the mean of the weights. They are written before a launch.
    - What a step returns is copied, since the next launch overwrites it.
    - A graph has one shape, and one distribution of targets over the parts of an accumulated batch. Steps of other shapes are
      launched kernel by kernel, and get a graph of their own when they come a second time, up to `MOST` graphs.
    """

    def __init__(self, model: LanguageModel, optimizer: Optimizer, average: WeightAverage | None = None):
        import cupy

        super().__init__(model, optimizer, average)
        self._cupy = cupy
        self._seen: set[tuple] = set()
        self._captured: dict[tuple, _Captured] = {}
        dtype = model.parameters.flat.dtype
        self._numbers = _Numbers([], cupy.zeros(1, "int64"), cupy.zeros(1, dtype), cupy.zeros(1, dtype))

    def __call__(self, batch: tuple, state: State | None, keys: list[Key], counts: np.ndarray, lr: float | Array) -> Result:
        shares = counts.tobytes() if len(keys) > 1 else b""  # of a batch in one part there are none
        kind = devices.mapped((batch, state), _kind), shares, tuple(key.seed for key in keys)
        captured = self._captured.get(kind)
        if captured is None and (kind not in self._seen or len(self._captured) == MOST):
            self._seen.add(kind)  # the first time, kernels are compiled and what stays is made
            return super().__call__(batch, state, keys, counts, lr)
        if captured is None:
            captured = self._captured[kind] = self._capture(batch, state, keys, counts)
        self._write(keys, lr)
        renew(captured.inputs, (batch, state))
        captured.graph.launch()
        self.optimizer.steps += 1
        if self.average is not None:
            self.average.updates += 1
        loss, norm, after = captured.graph.result
        return Result(loss.copy(), norm.copy(), after)  # after is an input of the next step, which copies it

    def _write(self, keys, lr: float) -> None:
        """This step's numbers: each an argument of the kernel that writes it, so nothing waits."""
        numbers = self._numbers
        for cell, key in zip(numbers.key_steps, keys, strict=True):
            cell.fill(key.step)
        numbers.step.fill(self.optimizer.steps + 1)
        numbers.lr.fill(lr)
        if self.average is not None:
            numbers.rate.fill(self.average.rate())

    def _capture(self, batch, state, keys, counts) -> _Captured:
        cupy, numbers = self._cupy, self._numbers
        inputs = devices.mapped((batch, state), lambda part: part.copy() if devices.on_gpu(part) else part)
        while len(numbers.key_steps) < len(keys):
            numbers.key_steps.append(cupy.zeros(1, "int64"))
        on_device = [key._replace(step=cell) for key, cell in zip(keys, numbers.key_steps, strict=True)]
        rate = None if self.average is None else numbers.rate
        varying = {"number": numbers.step, "rate": rate}
        step = super().__call__
        return _Captured(capture(lambda: step(*inputs, on_device, counts, numbers.lr, **varying)), inputs)


def _kind(part):
    """What must be the same for a graph to serve again: on the device the shape, of what the host reads the value."""
    if devices.on_gpu(part):
        return part.shape, str(part.dtype)
    return (part.shape, part.tobytes()) if hasattr(part, "shape") else part
