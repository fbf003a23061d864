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
from typing import NamedTuple

import numpy as np

from minilm.files import open_in_place, under_its_name
from minilm.typing import PathLike

__all__ = ["NAME", "Mark", "Trace", "read_trace"]

NAME = "trace.f64"
COLUMNS = 4


class Mark(NamedTuple):
    """How much of a growing file belongs to a checkpoint."""

    bytes: int
    sha256: str


class Trace:
    """trace.f64 of a run, which grows.

    Parameters
    ----------
    folder : path
    keep : int
        How many bytes belong to the checkpoint that the run goes on from; what follows them is cut off. Where there are fewer, as
        in a run of an earlier minilm, the file begins anew with the next step.
    """

    def __init__(self, folder: PathLike, keep: int = 0):
        self.path = os.path.join(os.fspath(folder), NAME)
        self._digest = hashlib.sha256()
        try:
            self._file = open_in_place(self.path)
            content = self._file.read(keep)
            if len(content) == keep:
                self._digest.update(content)
            else:
                keep = 0
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def add(self, step: int, lr: float, loss: float, norm: float | None) -> None:
        """Append a step."""
        row = np.array([step, lr, loss, np.nan if norm is None else norm], "<f8").tobytes()  # (4,)
        try:
            self._file.write(row)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None
        self._digest.update(row)

    def flush(self) -> Mark:
        """Make what there is last, and say how much it is; where somebody has removed the file, it is written again."""
        try:
            self._file = under_its_name(self._file, self.path)
            self._file.flush()
            os.fsync(self._file.fileno())
            return Mark(self._file.tell(), self._digest.hexdigest())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None


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
