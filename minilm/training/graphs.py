"""Steps as CUDA graphs: what the host launches kernel by kernel for the first step of a shape, it launches as one from then on.

A step of a small model has hundreds of kernels of a few microseconds each, and Python takes longer to launch one than the GPU to
run it. A graph is captured once, and all its kernels then start without the host. Three things follow from that:

- **Numbers of a launch are those of the capture.** What changes from step to step lies on the device: the batch, the step that
  dropout's keys count, the optimizer's step, the learning rate, the rate of the mean of the weights. They are written before a
  launch.
- **Memory of a launch is that of the capture.** The graph has a memory pool of its own, from which nobody else is given
  anything; what it returns is copied, since the next launch overwrites it.
- **A graph has one shape**, and one distribution of targets over the parts of an accumulated batch. Steps of other shapes are
  launched kernel by kernel, and get a graph of their own when they come a second time, up to `MOST` graphs.

References
----------
NVIDIA, CUDA C++ Programming Guide, "CUDA Graphs"; CuPy, "Stream capture" (`cupy.cuda.Stream.begin_capture`).
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from minilm.training.step import Result, Step

__all__ = ["GraphedStep", "own_stream"]

MOST = 4  # each has the memory of a step


@contextlib.contextmanager
def own_stream():
    """Inside this block work goes to a new stream, which a CUDA graph can capture; the default one cannot be.

    The two keep no order, so the stream waits at its start for what was launched before, and the host at its end for the stream.
    """
    import cupy

    cupy.cuda.get_current_stream().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        try:
            yield stream
        finally:
            stream.synchronize()


class _Numbers(NamedTuple):
    """What changes from step to step, on the device: one array of one number each."""

    key_steps: list  # int64, of each part of a batch
    step: object  # int64, of the optimizer
    lr: object  # of the weights' dtype
    rate: object


class _Captured(NamedTuple):
    graph: object
    inputs: list
    result: Result
    pool: object  # whose memory the graph works in


class GraphedStep(Step):
    """A `Step` that launches CUDA graphs. Called inside a stream's ``with`` block; arguments as `Step`'s."""

    def __init__(self, model, optimizer, average=None):
        import cupy

        super().__init__(model, optimizer, average)
        self._cupy = cupy
        self._seen: set[tuple] = set()
        self._captured: dict[tuple, _Captured] = {}
        dtype = model.parameters.flat.dtype
        self._numbers = _Numbers([], cupy.zeros(1, "int64"), cupy.zeros(1, dtype), cupy.zeros(1, dtype))

    def __call__(self, batch, state, keys, counts, lr) -> Result:
        shares = counts.tobytes() if len(keys) > 1 else b""  # of a batch in one part there are none
        kind = *(_kind(part) for part in (*batch, *_arrays(state))), shares, tuple(key.seed for key in keys)
        captured = self._captured.get(kind)
        if captured is None and (kind not in self._seen or len(self._captured) == MOST):
            self._seen.add(kind)  # the first time, kernels are compiled and what stays is made
            return super().__call__(batch, state, keys, counts, lr)
        if captured is None:
            captured = self._captured[kind] = self._capture(batch, state, keys, counts)
        self._write(keys, lr)
        for there, given in zip(captured.inputs, [*batch, *_arrays(state)], strict=True):
            if hasattr(there, "shape"):
                there[...] = given
        captured.graph.launch()
        self.optimizer.steps += 1
        if self.average is not None:
            self.average.updates += 1
        loss, norm, after = captured.result
        return Result(loss.copy(), norm.copy(), after)  # after is an input of the next step, which copies it

    def _write(self, keys, lr: float) -> None:
        """This step's numbers: each an argument of the kernel that writes it, so nothing waits."""
        numbers = self._numbers
        for there, key in zip(numbers.key_steps, keys, strict=True):
            there.fill(key.step)
        numbers.step.fill(self.optimizer.steps + 1)
        numbers.lr.fill(lr)
        if self.average is not None:
            numbers.rate.fill(self.average.rate())

    def _capture(self, batch, state, keys, counts) -> _Captured:
        cupy, numbers = self._cupy, self._numbers
        cupy.get_default_memory_pool().free_all_blocks()  # what steps had so far, the graph's own pool will have
        inputs = [part.copy() if hasattr(part, "shape") else part for part in (*batch, *_arrays(state))]
        fixed_batch, fixed_state = tuple(inputs[: len(batch)]), inputs[len(batch) :]
        while len(numbers.key_steps) < len(keys):
            numbers.key_steps.append(cupy.zeros(1, "int64"))
        there = [key._replace(step=cell) for key, cell in zip(keys, numbers.key_steps, strict=True)]
        fixed_state = tuple(fixed_state) if isinstance(state, tuple) else next(iter(fixed_state), None)
        pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.get_current_stream()
        with cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                rate = None if self.average is None else numbers.rate
                result = super().__call__(fixed_batch, fixed_state, there, counts, numbers.lr, number=numbers.step, rate=rate)
            except BaseException:
                with contextlib.suppress(Exception):
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return _Captured(graph, inputs, result, pool)


def _arrays(state) -> list:
    """Of a recurrent model's state."""
    return [] if state is None else list(state) if isinstance(state, tuple) else [state]


def _kind(part):
    """What must be the same for a graph to serve again."""
    return (part.shape, str(part.dtype)) if hasattr(part, "shape") else part
