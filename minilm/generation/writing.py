"""Drawing tokens one after the other, on the host or on a GPU, there also as CUDA graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm import devices
from minilm.generation.protocol import CausalLanguageModel
from minilm.generation.sampling import sample_ids
from minilm.ops.cuda.graphs import capture, own_stream, renew
from minilm.random import Key
from minilm.typing import Array, Ids

__all__ = ["GraphedWriter", "Writer"]

WORTH = 8  # tokens that a graph must be good for


class Writer:
    """Draws tokens and feeds them back.

    Parameters
    ----------
    model
        See `minilm.generation.stream_ids`.
    logits, state
        After the prompt, (B, V).
    suppressed : ndarray, shape (S,)
        Ids that are never drawn, where the model is.
    seed : int
    options : tuple
        Temperature, top_k and top_p.
    """

    def __init__(self, model: CausalLanguageModel, logits: Array, state: Any, suppressed: Ids, seed: int, options: tuple):
        self.model, self.logits, self.state = model, logits, state
        self.suppressed, self.seed, self.options = suppressed, seed, options
        self.drawn = None

    def write(self, step: int, count: int) -> list:
        """Tokens number `step` to ``step + count - 1``, (B,) each, where the model is."""
        with devices.ids_are_checked():  # for what was drawn lies in the vocabulary
            return [self._next(now) for now in range(step, step + count)]

    def _next(self, now: int):
        """Token number `now`, (B,)."""
        if self.drawn is not None:
            self.logits, self.state = self.model.step(self.drawn, self.state)  # (B, V)
        self.drawn = self._draw(self.logits, Key(self.seed, now))
        return self.drawn

    def _draw(self, logits, key):
        if self.suppressed.size:
            logits[:, self.suppressed] = -np.inf
        return sample_ids(logits, key, *self.options)  # (B,)


class GraphedWriter(Writer):
    """A `Writer` on a GPU that launches all kernels of a token as one CUDA graph.

    The token before, the number of the draw, the place in the key-value cache or the recurrent state lie on the device, and the
    graph itself brings them forward, so the host does nothing else. The first two tokens are launched kernel by kernel, as are
    those for which a GPT's context is full and its newer half is read again, and all of a model with banded attention, whose
    kernel must know on the host where a band begins.
    """

    def __init__(self, model: CausalLanguageModel, logits: Array, state: Any, suppressed: Ids, seed: int, options: tuple):
        import cupy

        super().__init__(model, logits, state, suppressed, seed, options)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._captured = None
        self._graphable = getattr(self.model.config, "band", None) is None
        self._tokens = 0  # read kernel by kernel, since when all kernels are there

    def write(self, step: int, count: int) -> list:
        with own_stream(self._stream):
            return super().write(step, count)

    def _next(self, now: int):
        if self._captured is None and self._tokens > 0 and self._graphable:
            self._start(now)
        if self._captured is None:
            self._tokens += self.drawn is not None
            return super()._next(now)
        self._captured.launch()
        self.drawn = self._ids.copy()  # (B,): the next launch overwrites it
        if self._room is not None:
            self._since.append(self._fed)
            self._fed = self.drawn
            self._room -= 1
            if self._room == 0:
                self._end()
        return self.drawn

    def _start(self, now: int) -> None:
        """Capture a token, if the context has room for some."""
        import cupy

        cached = hasattr(self.state, "cache")
        self._room = self.state.cache.capacity - self.state.cache.length if cached else None
        if self._room is not None and self._room < WORTH:
            return
        if cached:
            self._claimed, fixed = self.state.claimed(self._room)
        else:
            fixed = devices.mapped(self.state, lambda array: array.copy())
        self._ids, self._number = self.drawn.copy(), cupy.full(1, now, "int64")  # (B,), (1,)
        self._since, self._fed = [], self.drawn

        def token():
            logits, after = self.model.step(self._ids, fixed)
            self._ids[...] = self._draw(logits, Key(self.seed, self._number))
            self._number[...] += 1
            if cached:
                fixed.cache.advance()
            else:
                renew(fixed, after)

        self._captured = capture(token)

    def _end(self) -> None:
        """The context is full: the state as `model.step` takes it."""
        ids = np.concatenate([self._claimed.ids, *(fed[:, None] for fed in self._since)], axis=1)  # (B, context)
        self.state, self._captured = self._claimed._replace(ids=ids), None
