"""One token after another: kernel by kernel, or as launches of one CUDA graph.

A decoding step of a small batch has hundreds of kernels of a few microseconds, and Python takes longer to launch one than the
GPU to run it. With a graph all kernels of a step start at one launch. Its numbers are those of the capture, so what changes
from token to token lies on the device: the ids, the step that the random numbers count, and the model's state, which the
model then keeps in place (``model.in_place(state)``), a key-value cache with its length on the device.
"""

from __future__ import annotations

import contextlib

import numpy as np

from minilm import devices
from minilm.generation.sampling import draw
from minilm.random import Key

__all__ = ["GraphedSteps", "Steps"]


class Steps:
    """The tokens of a batch of texts, one a call.

    Parameters
    ----------
    model
    logits : ndarray, shape (B, V)
        After the prompts.
    state
        Likewise.
    options : tuple
        Temperature, top_k and top_p.
    seed : int
    suppressed : ndarray of integers, shape (S,)
        Ids that are never drawn.
    """

    def __init__(self, model, logits, state, options, seed: int, suppressed):
        self._model, self._logits, self._state = model, logits, state
        self._options, self._seed, self._suppressed = options, seed, suppressed
        self._drawn = None  # (B,) the token that the model is to read next

    def __call__(self, number: int):
        """Ids (B,) of the token of that number; the first is 0."""
        if self._drawn is not None:
            self._logits, self._state = self._model.step(self._drawn, self._state)  # (B, V)
        self._drawn = self._draw(self._logits, number)
        return self._drawn

    def _draw(self, logits, number):
        if self._suppressed.size:
            logits[:, self._suppressed] = -np.inf
        return draw(logits, Key(self._seed, number), *self._options)  # (B,)


class GraphedSteps(Steps):
    """`Steps` that launch a CUDA graph, from the third token on. Called inside a stream's ``with`` block, always the same."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._kept = self._graph = None

    def __call__(self, number: int):
        if self._drawn is None or (self._kept and self._kept.room == 0):
            return self._plain(number)
        if self._kept is None:
            self._kept = self._model.in_place(self._state)
            if self._kept is None:
                return super().__call__(number)
            self._ids = self._drawn.copy()  # (B,)
            self._number = devices.array_module(self._ids).full(1, number, np.int64)  # (1,)
            self._step()  # kernel by kernel: the capture loads no module
        else:
            self._graph = self._graph or self._captured()
            self._graph.launch()
        self._kept.done()
        self._drawn = self._ids.copy()  # the next launch overwrites it
        return self._drawn

    def _plain(self, number):
        """A token whose step has another shape: the first, and one whose context is full."""
        if self._kept:
            self._state = self._kept.state()
        drawn = super().__call__(number)
        if self._kept:
            self._kept.take(self._state)
            self._ids[...] = drawn
            self._number.fill(number + 1)
        return drawn

    def _step(self):
        self._ids[...] = self._draw(self._kept.step(self._ids), self._number)
        self._number += 1

    def _captured(self):
        import cupy

        self._pool = cupy.cuda.MemoryPool()  # the graph's own, from which nobody else is given anything
        stream = cupy.cuda.get_current_stream()
        with cupy.cuda.using_allocator(self._pool.malloc):
            stream.begin_capture()
            try:
                self._step()
            except BaseException:
                with contextlib.suppress(Exception):
                    stream.end_capture()
                raise
            return stream.end_capture()
