"""How fast this machine does what training consists of, each kind of work timed by one of minilm's own ops.

Each function returns one rate of `minilm.planner.hardware.Machine`. A time is the lower quartile of short runs, since other
programs can only lengthen a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import minilm
from minilm.ops import adam, cross_entropy, linear, lstm, negative_sampling

__all__ = ["LARGE", "RECURRENT", "bandwidth", "call", "exponentials", "matmul", "questions", "recurrent"]

LARGE = (1024, 512, 512)  # rows, inputs and outputs of the product
RECURRENT = {"T": 32, "B": 32, "D": 128, "H": 128}
STREAM = 1 << 24  # numbers in each buffer of the pass over memory: beyond every cache
CLASSES = (512, 1000)  # rows and classes of the softmax
SCALARS = 40_000  # words of the text that word2vec is timed on
SECONDS = 0.4  # for each rate


def matmul(rng: np.random.Generator) -> float:
    """Operations a second of a product of matrices, by the op that models run on: BLAS has threads of its own."""
    N, D, O = LARGE
    x, W = _drawn(rng, N, D), _drawn(rng, O, D)
    return 2 * N * D * O / _seconds(_reusing(lambda: linear.forward(x, W)))


def recurrent(rng: np.random.Generator) -> float:
    """Operations a second of an LSTM layer, forward and backward, its gates included."""
    T, B, D, H = RECURRENT.values()
    x, h0, c0, dy = _drawn(rng, T, B, D), _drawn(rng, B, H), _drawn(rng, B, H), _drawn(rng, T, B, H)
    W_ih, W_hh = _drawn(rng, 4 * H, D) / 11, _drawn(rng, 4 * H, H) / 11
    b_ih, b_hh = _drawn(rng, 4 * H), _drawn(rng, 4 * H)

    def step():
        _, saved = lstm.forward(x, h0, c0, W_ih, W_hh, b_ih, b_hh)
        lstm.backward(dy, saved)

    return 3 * 2 * T * B * 4 * H * (D + H) / _seconds(_reusing(step))


def bandwidth() -> float:
    """Bytes a second of a pass over memory: Adam's, which reads and writes param, gradient, m and v."""
    buffers = [np.zeros(STREAM, np.float32) for _ in range(4)]
    return 4 * 8 * STREAM / _seconds(lambda: adam.step(*buffers, step=1, lr=0.0, clear=True))


def exponentials(rng: np.random.Generator) -> float:
    """Numbers a second through softmax and cross-entropy."""
    N, V = CLASSES
    logits, targets = _drawn(rng, N, V), rng.integers(0, V, N)
    return N * V / _seconds(_reusing(lambda: cross_entropy.forward(logits, targets)))


def call(rng: np.random.Generator) -> float:
    """Seconds that an op takes however little it does."""
    x, W = _drawn(rng, 1, 8), _drawn(rng, 8, 8)
    return _seconds(lambda: [linear.forward(x, W) for _ in range(100)]) / 100


def questions(rng: np.random.Generator) -> float:
    """Dot products of word2vec a second, by one thread, for vectors of 64 numbers."""
    vectors = [_drawn(rng, 1000, 64) / 64 for _ in range(2)]
    words, starts = rng.integers(0, 1000, SCALARS), np.arange(0, SCALARS + 1, 20)
    ones, identity = np.ones(1000), np.arange(1000)
    options = {"cbow": False, "window": 1, "negatives": 5, "lr": 1e-3, "lr_end": 1e-3, "seed": 0}

    def train():
        return negative_sampling.train(*vectors, words, starts, ones, ones, identity, **options)

    return train().predictions * 6 / _seconds(train)


def _drawn(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _reusing(run: Callable[[], object]) -> Callable[[], None]:
    """`run` with the buffers of the run before, as in a step of training."""
    workspace = minilm.Workspace()

    def reusing() -> None:
        with workspace.step():
            run()

    return reusing


def _seconds(run: Callable[[], object]) -> float:
    """The lower quartile of several runs, after one that compiles and warms up."""
    run()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return float(np.percentile(times, 25))
