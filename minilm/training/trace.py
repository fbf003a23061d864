"""What every step of a run computed, to the last bit: trace.f64, so that the run can be replayed and compared.

Float64 numbers in little endian, four a step::

    step    from 1
    lr      the learning rate (with a budget in minutes it follows the clock, so that a replay must read it here)
    loss    of the batch, before the weights moved
    norm    of the gradient, before clipping

``numpy.fromfile("trace.f64", "<f8").reshape(-1, 4)`` reads it. A checkpoint says how many of
its bytes belong to it, and their sha256.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np

from minilm.training.growing_file import GrowingFile, Mark
from minilm.typing import PathLike

__all__ = ["NAME", "Trace", "read_trace"]

NAME = "trace.f64"
COLUMNS = 4


class Trace(GrowingFile):
    """trace.f64 of a run.

    Parameters
    ----------
    folder : str or os.PathLike
        The run's.
    keep : int
        How many bytes of the file belong to the checkpoint that the run goes on from. Where there are fewer, as in a run of an
        earlier minilm, the file begins anew with the next step.
    """

    def __init__(self, folder: PathLike, keep: int = 0):
        super().__init__(folder, NAME, keep)

    def add(self, step: int, lr: float, loss: float, norm: float | None) -> None:
        """Append a step."""
        self.append(np.array([step, lr, loss, np.nan if norm is None else norm], "<f8").tobytes())  # (4,)


def read_trace(folder: PathLike, mark: Mark) -> np.ndarray:
    """The rows of a run's trace.f64 that belong to a checkpoint, (N, 4); ValueError, naming the file, if they are damaged."""
    path = os.path.join(os.fspath(folder), NAME)
    if not mark.bytes:  # of an earlier minilm
        return np.empty((0, COLUMNS))
    with open(path, "rb") as file:
        content = file.read(mark.bytes)
    if len(content) != mark.bytes or hashlib.sha256(content).hexdigest() != mark.sha256:
        raise ValueError(f"{path} is damaged: its first {mark.bytes:,} bytes have not the sha256 {mark.sha256[:16]}...")
    return np.frombuffer(content, "<f8").reshape(-1, COLUMNS)
