"""Ids that lie in several token files, one stream: too many for one file, or of texts that came one after the other."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from minilm.data.token_files import fault, load_tokens
from minilm.ops import checks
from minilm.typing import PathLike

__all__ = ["Shards", "shards"]


class Shards:
    """A stream of ids over several arrays, which batches take as they take one: only what they look at is read.

    Parameters
    ----------
    parts : iterable of ndarray, each (N_i,) of integers
        In order: a window may begin in one and end in the next.
    """

    ndim = 1

    def __init__(self, parts: Iterable[np.ndarray]):
        self.parts = [np.asarray(part) for part in parts]
        wrong = [part for part in self.parts if part.ndim != 1 or part.dtype.kind not in "ui"]
        if not self.parts or wrong:
            what = f"one of shape {wrong[0].shape} of {wrong[0].dtype}" if wrong else "none"
            raise TypeError(f"parts must be arrays of one axis of integers, got {what}")
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self._ends = np.cumsum([part.size for part in self.parts])  # (parts,)

    @property
    def size(self) -> int:
        """Ids in all."""
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        """The ids of a slice without a step, or one id."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self.size)
            if step != 1:
                raise ValueError(f"shards give slices without a step, got {index}")
            return self._slice(start, max(start, stop))
        place = range(self.size)[index]  # IndexError where there is none
        return self._slice(place, place + 1)[0]

    def _slice(self, start: int, stop: int) -> np.ndarray:
        first = int(np.searchsorted(self._ends, start, side="right"))
        pieces = []
        while start < stop:
            begin = int(self._ends[first]) - self.parts[first].size
            piece = self.parts[first][start - begin : stop - begin]
            pieces.append(piece)
            start, first = start + piece.size, first + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty(0, self.dtype), *pieces]).astype(self.dtype, copy=False)  # (stop - start,)


def shards(paths: PathLike | Iterable[PathLike], damaged: str = "stop") -> Shards:
    """Map several token files as one stream.

    Parameters
    ----------
    paths : path, or iterable of paths
        The files in order; or a folder, whose .npy files are taken by name.
    damaged : {"stop", "skip"}
        What a file that does not fit its checksum does: a ValueError that names it, or a warning that does, and the others are
        taken. All of each file is read for that, once; a file that another program wrote has no checksum, and is taken as it is.
    """
    checks.option("damaged", damaged, ("stop", "skip"))
    parts = []
    for path in _listed(paths):
        wrong = _fault(path)
        if wrong is None:
            parts.append(load_tokens(path))
        elif damaged == "stop":
            raise ValueError(f"{wrong}; damaged='skip' leaves the file out")
        else:
            warnings.warn(f"left out: {wrong}", RuntimeWarning, stacklevel=2)
    if not parts:
        raise ValueError("there is no token file that could be read")
    return Shards(parts)


def _listed(paths: PathLike | Iterable[PathLike]) -> list[str]:
    if not isinstance(paths, (str, os.PathLike)):
        return [os.fspath(path) for path in paths]
    path = os.fspath(paths)
    if not os.path.isdir(path):
        return [path]
    names = sorted(glob.glob(os.path.join(glob.escape(path), "*.npy")))
    if not names:
        raise ValueError(f"{path}: there are no token files (.npy) in it")
    return names


def _fault(path: str) -> str | None:
    try:
        return fault(path)
    except ValueError:  # without a checksum
        return None
