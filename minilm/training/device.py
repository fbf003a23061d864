"""What training on a device needs, once the model is there.

`active` sets the precision of products. For a GPU, `Upload` copies each batch while the step before still runs; `Unread` keeps
losses on the device and reads many at once, since reading one means waiting for the GPU; and `GraphedStep` launches a step as one
CUDA graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.ops.cuda.graphs import Captured, capture, renew
from minilm.ops.precision import precision as products_in
from minilm.ops.precision import require
from minilm.optimizers import Optimizer, WeightAverage
from minilm.random import Key
from minilm.training.step import Result, Step
from minilm.typing import Array, Scalar, State

if TYPE_CHECKING:
    from minilm.training.protocol import LanguageModel

__all__ = ["READ_EVERY", "GraphedStep", "Unread", "Upload", "active", "uploader"]

READ_EVERY = 50  # steps on a GPU, at most, until the host reads their losses, for which it waits
MOST = 4  # CUDA graphs: each has the memory of a step


@contextlib.contextmanager
def active(device: str, precision: str = "float32") -> Iterator[None]:
    """Inside this block products have a precision; and ids on a GPU are not checked, since they were when the batch was made.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    precision : {"float32", "tf32", "bf16"}
        See `minilm.ops.precision`.

    Raises
    ------
    ValueError
        If products cannot be computed so on the device.
    """
    require(device, precision)
    with products_in(precision), contextlib.nullcontext() if device == "cpu" else devices.ids_are_checked():
        yield


def uploader(device: str) -> Callable[[tuple], tuple]:
    """The function that copies a batch to a device: an `Upload`; on a CPU it returns the batch itself."""
    return (lambda batch: batch) if device == "cpu" else Upload()


class Upload:
    """Copies a batch ahead to the GPU: ``on_gpu = upload(batch)``, for the step that follows and no later one.

    Two sets of pinned buffers take turns: the host fills one while the GPU still reads the other. From pageable memory every
    copy would wait for the GPU.

    The copies' stream keeps no order with the one that computes, and CuPy hands memory that was let go to whoever asks next on
    the same stream. So a batch is kept until the next but one is copied, and that copy waits for all that had been launched when
    the next one came: for everything that reads the memory it may be given.
    """

    SETS = 2

    def __init__(self) -> None:
        import cupy

        devices.require("cuda")
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pinned: dict[tuple, np.ndarray] = {}
        self._used = [None] * self.SETS  # events after which a set may be filled again
        self._kept: list = [None] * self.SETS  # the arrays of the last calls
        self._launched = None  # event: all that had been launched at the call before
        self._turn = 0

    def __call__(self, tree: Any) -> Any:
        """The arrays of a tree of tuples, lists and dicts on the GPU; what is no array stays as it is."""
        turn = self._turn = (self._turn + 1) % self.SETS
        if self._used[turn] is not None:
            self._used[turn].synchronize()  # SETS copies ago: long done
        main = self._cupy.cuda.get_current_stream()
        self._kept[turn] = None
        with self._stream:
            if self._launched is not None:
                self._stream.wait_event(self._launched)
            place = iter(range(2**31))
            copies = devices.mapped(tree, lambda leaf: self._copied(turn, next(place), leaf))
            self._used[turn] = self._stream.record()
        self._kept[turn] = copies
        main.wait_event(self._used[turn])
        self._launched = main.record()
        return copies

    def _copied(self, turn: int, place: int, leaf):
        if not isinstance(leaf, np.ndarray):
            return leaf
        copy = self._cupy.empty(leaf.shape, leaf.dtype)
        copy.set(self._pin(turn, place, leaf))
        return copy

    def _pin(self, turn: int, place: int, array: np.ndarray) -> np.ndarray:
        """The array's numbers in pinned memory."""
        kind = turn, place, array.dtype
        buffer = self._pinned.get(kind)
        if buffer is None or buffer.size < array.size:
            raw = self._cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
            buffer = self._pinned[kind] = np.frombuffer(raw, array.dtype, array.size)
        pinned = buffer[: array.size].reshape(array.shape)
        pinned[...] = array
        return pinned


class Unread:
    """Losses of steps, and the norms of their gradients, that have not been read yet.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where they lie: to read them from a GPU is to wait for it.
    """

    def __init__(self, device: str):
        self._every = 1 if device == "cpu" else READ_EVERY
        self._steps: list[tuple] = []

    def add(self, step: int, loss: Scalar | float, norm: Scalar | float | None) -> None:
        """Add the loss and the norm of a step, whose norm may be None."""
        self._steps.append((step, loss, norm))

    @property
    def due(self) -> bool:
        """Whether it is time to read them: on a CPU after every step, on a GPU after `READ_EVERY`."""
        return len(self._steps) >= self._every

    def read(self) -> list[tuple[int, float, float | None]]:
        """(step, loss, norm) of all of them, which are forgotten then."""
        steps, self._steps = devices.to_host(self._steps), []
        return [(step, float(loss), None if norm is None else float(norm)) for step, loss, norm in steps]


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
