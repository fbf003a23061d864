"""No result depends on where arrays lie in memory: near ones send a vectorised loop that reads, writes and sums another way."""

import contextlib
import importlib

import numpy as np
import pytest

from minilm.ops import registry
from minilm.ops.workspace import Workspace

OPS = [op for op in registry().values() if op.backward]
GAPS = (0, 8, 24, 64, 136, 264, 520)  # bytes


class Near(Workspace):
    """A workspace whose arrays begin so many bytes behind one another, and behind the arguments."""

    def __init__(self, gap: int):
        super().__init__()
        self.buffer, self.used, self.gap = np.zeros(1 << 22, np.uint8), 0, gap

    def empty(self, shape, dtype):
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        begin = self.used
        self.used += -(-size // 8) * 8 + self.gap
        assert self.used < self.buffer.size
        return self.buffer[begin : begin + size].view(dtype).reshape(shape)

    def holding(self, array):
        if not isinstance(array, np.ndarray) or array.dtype == object:
            return array
        held = self.empty(array.shape, array.dtype)
        held[...] = array
        return held

    @contextlib.contextmanager
    def scratch(self):
        yield self

    def release_after(self, array):
        """Nothing is given back."""


def bits(result):
    if isinstance(result, (tuple, list)):
        return [bit for part in result for bit in bits(part)]
    return [np.asarray(result).tobytes()] if isinstance(result, (np.ndarray, np.generic, float)) else []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_results_do_not_depend_on_places(op, dtype):
    package = importlib.import_module(op.package)
    forward, backward = getattr(package, op.forward), getattr(package, op.backward)
    for dims in (op.tiny(), {letter: sorted(sizes)[len(sizes) // 2] for letter, sizes in op.dims.items()}):
        case = op.draw(np.random.default_rng(3), np.dtype(dtype), dims)
        cotangent = None
        seen = set()
        for gap in GAPS:
            near = Near(gap)
            arguments = {name: near.holding(value) for name, value in case.arguments.items()}
            with near:
                y, saved = forward(**arguments)
            first = y[0] if isinstance(y, tuple) else y
            if cotangent is None:
                cotangent = np.asarray(np.random.default_rng(4).normal(size=np.shape(first)), dtype)
            dy = near.holding(cotangent) if np.ndim(first) else dtype(0.7)
            with near:
                gradients = backward((dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else dy, saved)
            seen.add(tuple(bits(y) + bits(gradients)))
        assert len(seen) == 1
